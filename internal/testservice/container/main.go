// Command container runs the service that its argument names ("redis" or "postgres") in Docker, prints its URL, and ends
// it when standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/docker/go-connections/nat"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// service is what to run and how to reach it.
type service struct {
	image, url string
	port       nat.Port
	env        map[string]string
}

var services = map[string]service{
	"redis":    {image: "redis:7", port: "6379/tcp", url: "redis://%s:%s"},
	"postgres": {image: "postgres:16", port: "5432/tcp", url: "postgres://postgres@%s:%s/postgres?sslmode=disable", env: map[string]string{"POSTGRES_HOST_AUTH_METHOD": "trust"}},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: container redis|postgres")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		os.Exit(1)
	}
}

func run(name string) error {
	s, ok := services[name]
	if !ok {
		return fmt.Errorf("no service %q: want redis or postgres", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image: s.image, ExposedPorts: []string{string(s.port)}, Env: s.env, WaitingFor: wait.ForExposedPort(),
		},
		Started: true,
	})
	if err != nil {
		return err
	}
	defer c.Terminate(context.Background())
	host, err := c.Host(ctx)
	if err != nil {
		return err
	}
	port, err := c.MappedPort(ctx, s.port)
	if err != nil {
		return err
	}
	fmt.Printf(s.url+"\n", host, port.Port())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
