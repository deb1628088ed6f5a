package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

func dataURL(kind string, b []byte) string {
	return "data:image/" + kind + ";base64," + base64.StdEncoding.EncodeToString(b)
}

// sampleImages are data URLs of one image, 1,300 by 700 pixels, in each format.
func sampleImages(t testing.TB) map[string]string {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, 1300, 700))
	var p, j, g bytes.Buffer
	if err := png.Encode(&p, img); err != nil {
		t.Fatal(err)
	}
	if err := jpeg.Encode(&j, img, nil); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, img, nil); err != nil {
		t.Fatal(err)
	}
	// A JPEG whose dimensions stand behind 120 kB of metadata in two segments.
	far := append([]byte{0xFF, 0xD8}, bytes.Repeat(append([]byte{0xFF, 0xE1, 0xEA, 0x60}, make([]byte, 0xEA60-2)...), 2)...)
	far = append(far, j.Bytes()[2:]...)
	return map[string]string{
		"png": dataURL("png", p.Bytes()), "jpeg": dataURL("jpeg", j.Bytes()), "gif": dataURL("gif", g.Bytes()),
		"jpeg, far": dataURL("jpeg", far),
		"webp":      dataURL("webp", webp("VP8 ", 1300, 700)), "webp lossless": dataURL("webp", webp("VP8L", 1300, 700)),
		"webp extended": dataURL("webp", webp("VP8X", 1300, 700)),
	}
}

// webp builds a WebP header by RFC 9649; the pixels are missing.
func webp(form string, w, h int) []byte {
	b := make([]byte, 64)
	copy(b, "RIFF")
	copy(b[8:], "WEBP"+form)
	switch form {
	case "VP8 ":
		copy(b[23:], []byte{0x9d, 0x01, 0x2a})
		binary.LittleEndian.PutUint16(b[26:], uint16(w))
		binary.LittleEndian.PutUint16(b[28:], uint16(h))
	case "VP8L":
		b[20] = 0x2f
		binary.LittleEndian.PutUint32(b[21:], uint32(w-1)|uint32(h-1)<<14)
	case "VP8X":
		b[24], b[25], b[26] = byte(w-1), byte((w-1)>>8), byte((w-1)>>16)
		b[27], b[28], b[29] = byte(h-1), byte((h-1)>>8), byte((h-1)>>16)
	}
	return b
}

func TestImageDimensionsFromDataURL(t *testing.T) {
	for name, u := range sampleImages(t) {
		if got := dataURLImage([]byte(u)); got.Width != 1300 || got.Height != 700 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, u := range []string{"", "https://example.com/a.png", "data:image/png;base64,", "data:image/png,AAAA",
		"data:image/png;base64,!!!!", "data:image/png;base64,iVBORw0KGgo=", "data:,"} {
		if got := dataURLImage([]byte(u)); got != (Image{}) {
			t.Errorf("%q: %+v, want no dimensions", u, got)
		}
	}
}

func TestCountImages(t *testing.T) {
	text := tokens("look") + tokens("user") + perMessage + perReply
	sample := sampleImages(t)["png"] // 1300 by 700: six tiles
	const tiles = 85 + 6*170
	for name, v := range map[string]struct {
		parts string
		want  int
	}{
		"high":       {`{"type":"image_url","image_url":{"url":"` + sample + `","detail":"high"}}`, tiles},
		"auto":       {`{"type":"image_url","image_url":{"url":"` + sample + `","detail":"auto"}}`, tiles},
		"none":       {`{"type":"image_url","image_url":{"url":"` + sample + `"}}`, tiles},
		"low":        {`{"image_url":{"detail":"low","url":"` + sample + `"},"type":"image_url"}`, 85},
		"elsewhere":  {`{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}`, 1445},
		"two":        {`{"type":"image_url","image_url":{"url":"` + sample + `","detail":"low"}},{"type":"image_url","image_url":{"url":"` + sample + `"}}`, 85 + tiles},
		"bare URL":   {`{"type":"image_url","image_url":"` + sample + `"}`, tiles},
		"plain text": {`{"type":"text","text":""}`, 0},
	} {
		got := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"text","text":"look"},`+v.parts+`]}]}`)
		if got.Input != text+v.want {
			t.Errorf("chat, %s: %d tokens, want %d", name, got.Input, text+v.want)
		}
	}
	for name, v := range map[string]struct {
		parts string
		want  int
	}{
		"high": {`{"type":"input_image","image_url":"` + sample + `","detail":"high"}`, tiles},
		"low":  {`{"type":"input_image","detail":"low","image_url":"` + sample + `"}`, 85},
		"file": {`{"type":"input_image","file_id":"file-1"}`, 1445},
	} {
		got := count(t, Responses, `{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_text","text":"look"},`+v.parts+`]}]}`)
		if got.Input != text+v.want {
			t.Errorf("responses, %s: %d tokens, want %d", name, got.Input, text+v.want)
		}
	}
}

func TestCountAudioAndFiles(t *testing.T) {
	second := base64.StdEncoding.EncodeToString(make([]byte, 48_000))
	base := count(t, Chat, `{"model":"gpt-4o-audio-preview","messages":[{"role":"user","content":[]}]}`).Input
	for format, want := range map[string]int{"wav": 10, "mp3": 60} {
		got := count(t, Chat, fmt.Sprintf(`{"model":"gpt-4o-audio-preview","messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":%q,"format":%q}}]}]}`, second, format))
		if got.Input-base != want {
			t.Errorf("a second of %s counts %d, want %d", format, got.Input-base, want)
		}
	}
	got := count(t, Chat, `{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,`+strings.Repeat("A", 136_533)+`"}}]}]}`)
	if file := got.Input - base; file < 1_500 || file > 1_700 {
		t.Errorf("a PDF of 100 kB counts %d", file)
	}
}
