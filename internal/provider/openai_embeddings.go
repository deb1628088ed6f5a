package provider

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
)

type embeddingRequest struct {
	Model          string `json:"model"`
	Input          prompt `json:"input"`
	Dimensions     *int   `json:"dimensions"`
	EncodingFormat string `json:"encoding_format"`
}

func (req *embeddingRequest) modelName() string { return req.Model }

type embeddingList struct {
	Object string         `json:"object"`
	Data   []embedding    `json:"data"`
	Model  string         `json:"model"`
	Usage  embeddingUsage `json:"usage"`
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"` // numbers, or base64 of little-endian float32
}

type embeddingUsage struct {
	PromptTokens int64 `json:"prompt_tokens"`
	TotalTokens  int64 `json:"total_tokens"`
}

// maxDimensions is what OpenAI's largest embedding model has.
const maxDimensions = 3072

func (p *Provider) serveEmbeddings(w http.ResponseWriter, r *http.Request) {
	var req embeddingRequest
	x, ok := p.begin(w, r, openAI{}, &req)
	if !ok {
		return
	}
	dimensions := p.cfg.EmbeddingDimensions
	if req.Dimensions != nil {
		dimensions = *req.Dimensions
	}
	switch {
	case req.Model == "":
		x.invalid(http.StatusBadRequest, "model", "you must provide a model parameter")
		return
	case req.Input.len() == 0 || req.Input.len() > maxPrompts:
		x.invalid(http.StatusBadRequest, "input", fmt.Sprintf("Invalid 'input': send 1 to %d inputs.", maxPrompts))
		return
	case dimensions < 1 || dimensions > maxDimensions:
		x.invalid(http.StatusBadRequest, "dimensions", fmt.Sprintf("Invalid 'dimensions': %d.", dimensions))
		return
	}
	tokens := req.Input.count(req.Model, p.cfg.Count)
	if !x.enter(demand{charge: Work{Requests: 1, Tokens: tokens}}) {
		return
	}
	defer x.settle()
	x.used.Tokens = tokens
	a := p.compose(x.hash, 1, 1)
	a.perToken = 0 // an embedding generates nothing
	x.abortOn(x.produce(a, func(int64, int64) error { return nil }))
	x.settle()
	list := embeddingList{Object: "list", Model: req.Model, Usage: embeddingUsage{tokens, tokens}}
	for i := range req.Input.len() {
		vector := unitVector(a.seed+uint64(i), dimensions)
		e := embedding{Object: "embedding", Index: i, Embedding: vector}
		if req.EncodingFormat == "base64" {
			e.Embedding = encodeVector(vector)
		}
		list.Data = append(list.Data, e)
	}
	x.reply(list)
}

// unitVector is a random direction: OpenAI's embeddings have length 1.
func unitVector(seed uint64, dimensions int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	v := make([]float64, dimensions)
	var square float64
	for i := range v {
		v[i] = rng.NormFloat64()
		square += v[i] * v[i]
	}
	unit := make([]float32, dimensions)
	for i := range v {
		unit[i] = float32(v[i] / math.Sqrt(square))
	}
	return unit
}

func encodeVector(v []float32) string {
	var b []byte
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}
