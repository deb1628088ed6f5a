package openai

import (
	"bytes"
	"math"
	"strings"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Image is what the price of an image in tokens depends on.
type Image struct {
	// Width and Height in pixels. If either is not above 0 they are unknown, and the image counts as the largest that
	// the model's rule can make of it.
	Width, Height int
	// Detail is "low", "high", "original" or "auto"; empty means auto, which counts as high.
	Detail string
}

// ImageTokens returns the input tokens of an image by the rules of OpenAI's guide "Images and vision" (calculating
// costs): 512-pixel tiles for gpt-4o, gpt-4.1, gpt-5 and the o series, 32-pixel patches for their small siblings and the
// later models. For a model that the guide does not list it counts tiles at gpt-4o's price.
func ImageTokens(model string, img Image) int {
	family := Family(model)
	for _, rule := range patchRules {
		if strings.HasPrefix(family, rule.prefix) {
			return rule.tokens(img)
		}
	}
	for _, rule := range tileRules {
		if strings.HasPrefix(family, rule.prefix) {
			return rule.tokens(img)
		}
	}
	return tileRule{"", 85, 170}.tokens(img)
}

// patchRule counts patches of 32 pixels, scaled down to a budget, times a multiplier.
type patchRule struct {
	prefix     string
	multiplier float64
	budget     int
}

var patchRules = []patchRule{
	{"gpt-4.1-mini", 1.62, 1536},
	{"gpt-4.1-nano", 2.46, 1536},
	{"gpt-5-mini", 1.62, 1536},
	{"gpt-5-nano", 2.46, 1536},
	{"gpt-5.4-mini", 1.62, 1536},
	{"gpt-5.4-nano", 2.46, 1536},
	{"gpt-5.4", 1, 2500},
	{"gpt-5.2", 1, 1536},
	{"gpt-5.3-codex", 1, 1536},
	{"gpt-5.1-codex-mini", 1, 1536},
	{"gpt-5-codex-mini", 1, 1536},
	{"o4-mini", 1.72, 1536},
}

const originalBudget = 10_000 // patches that detail "original" allows, where a model has it

func (r patchRule) tokens(img Image) int {
	budget := r.budget
	if img.Detail == "original" {
		budget = originalBudget
	}
	if img.Width <= 0 || img.Height <= 0 {
		return int(math.Ceil(float64(budget) * r.multiplier))
	}
	w, h := float64(img.Width), float64(img.Height)
	if patches(w)*patches(h) > float64(budget) {
		shrink := math.Sqrt(32 * 32 * float64(budget) / (w * h))
		shrink *= min(whole(w*shrink/32), whole(h*shrink/32))
		w, h = math.Floor(w*shrink), math.Floor(h*shrink)
	}
	n := min(max(1, patches(w))*max(1, patches(h)), float64(budget))
	return int(math.Ceil(n * r.multiplier))
}

func patches(pixels float64) float64 { return math.Ceil(pixels / 32) }

// whole is the part of x that its whole part makes up; 1 where x is below 1 (a strip thinner than a patch).
func whole(x float64) float64 {
	if x < 1 {
		return 1
	}
	return math.Floor(x) / x
}

// tileRule counts tiles of 512 pixels after scaling the image into 2048 by 2048 and its short side down to 768.
type tileRule struct {
	prefix     string
	base, tile int
}

var tileRules = []tileRule{
	{"gpt-4o-mini", 2833, 5667},
	{"gpt-4", 85, 170}, // gpt-4o, gpt-4.1, gpt-4.5, gpt-4-turbo
	{"gpt-5", 70, 140},
	{"o1", 75, 150},
	{"o3", 75, 150},
	{"computer-use", 65, 129},
}

// mostTiles is what a 768 by 2048 image has, the largest that is left after scaling.
const mostTiles = 8

func (r tileRule) tokens(img Image) int {
	if img.Detail == "low" {
		return r.base
	}
	if img.Width <= 0 || img.Height <= 0 {
		return r.base + mostTiles*r.tile
	}
	w, h := float64(img.Width), float64(img.Height)
	if long := max(w, h); long > 2048 {
		w, h = math.RoundToEven(w*2048/long), math.RoundToEven(h*2048/long)
	}
	if short := min(w, h); short > 768 {
		w, h = math.RoundToEven(w*768/short), math.RoundToEven(h*768/short)
	}
	tiles := max(1, math.Ceil(w/512)) * max(1, math.Ceil(h/512))
	return r.base + int(tiles)*r.tile
}

// dataURLImage reads the dimensions from the beginning of a data URL without decoding pixels; zero if it is another kind
// of URL or they aren't found.
func dataURLImage(url []byte) Image {
	head, data, found := bytes.Cut(url, []byte(","))
	if !found || !bytes.HasPrefix(head, []byte("data:")) || !bytes.HasSuffix(head, []byte(";base64")) {
		return Image{}
	}
	w, h := llm.ImageSize(data)
	return Image{Width: w, Height: h}
}
