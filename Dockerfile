# The command, for a batch in a cluster or a status page beside a store:
#   docker build -t throttle . && docker run --rm throttle status --store redis://redis:6379
FROM golang:1.25 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /throttle ./cmd/throttle

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /throttle /throttle
ENTRYPOINT ["/throttle"]
