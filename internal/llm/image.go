package llm

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	_ "image/gif"  // header only, for the dimensions
	_ "image/jpeg" // header only, for the dimensions
	_ "image/png"  // header only, for the dimensions
)

// MaxImageHeader is how much of an image in base64 is looked at for its dimensions, in characters. A JPEG may carry a
// thumbnail and a colour profile before them.
const MaxImageHeader = 256 << 10

// FileBytesPerToken is by what a PDF's tokens are estimated, for which no provider publishes a rule that a client can
// apply: a page has some 100 kB and is read as text and as an image, some 1,600 tokens.
const FileBytesPerToken = 64

// ImageSize reads an image's width and height in pixels from the beginning of its base64 form, without decoding pixels;
// zeros if they aren't found. It knows PNG, JPEG, GIF and WebP.
func ImageSize(data []byte) (width, height int) {
	data = data[:len(data)/4*4]
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(data)))
	n, _ := base64.StdEncoding.Decode(raw, data) // what could be decoded is enough
	raw = raw[:n]
	if w, h := webpSize(raw); w > 0 {
		return w, h
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil {
		return 0, 0
	}
	return config.Width, config.Height
}

// webpSize reads the three forms of a WebP header (source: RFC 9649, section 2; the bitstream headers in RFC 6386 and
// in the lossless specification).
func webpSize(b []byte) (width, height int) {
	if len(b) < 30 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WEBP" {
		return 0, 0
	}
	switch string(b[12:16]) {
	case "VP8 ":
		return int(binary.LittleEndian.Uint16(b[26:]) & 0x3FFF), int(binary.LittleEndian.Uint16(b[28:]) & 0x3FFF)
	case "VP8L":
		bits := binary.LittleEndian.Uint32(b[21:])
		return int(bits&0x3FFF) + 1, int(bits>>14&0x3FFF) + 1
	case "VP8X":
		w := int(b[24]) | int(b[25])<<8 | int(b[26])<<16
		h := int(b[27]) | int(b[28])<<8 | int(b[29])<<16
		return w + 1, h + 1
	}
	return 0, 0
}
