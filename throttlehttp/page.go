package throttlehttp

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

// The page's parts: files that can be read and edited alone, one document when they are served.
var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

var document, policy = assemble(pageHTML, pageCSS, pageJS)

// assemble puts style and script into the document, and makes the policy under which nothing else can run or load.
func assemble(html, css, js string) (document, policy string) {
	document = strings.NewReplacer("/*style*/", css, "/*script*/", js).Replace(html)
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	policy = strings.Join([]string{
		"default-src 'none'", "style-src " + hash(css), "script-src " + hash(js), "connect-src 'self'", "img-src data:",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
	return document, policy
}
