package driver

import (
	"iter"
	"net/url"
	"strings"
)

// unshown stands for a password.
const unshown = "xxxxx"

// redacted is a URL as it was given, but for what is a password or may be one: people forget slashes and separators, and
// what url.Parse then makes of the rest has the password in the path, in an option that it drops, or in a name. Cut are
// what separators may have cut off a password, which a driver takes for options' names, and may repeat.
func redacted(rawURL string) (shown string, cut []string) {
	_, options, _ := strings.Cut(rawURL, "?")
	for option := range splitOptions(options) {
		if name, _, _ := strings.Cut(option, "="); lastAt(name) >= 0 { // a password with a ? in it
			rawURL = redactedPlace(rawURL)
			break
		}
	}
	place, options, _ := strings.Cut(rawURL, "?")
	var b strings.Builder
	b.WriteString(redactedPlace(place))
	b.WriteString(rawURL[len(place) : len(rawURL)-len(options)]) // the ?, where there is one
	secretBefore := false
	for option, separator := range splitOptions(options) {
		shown := redactedOption(option)
		if secretBefore && option != "" && !strings.Contains(option, "=") {
			shown = unshown
			cut = append(cut, option)
		}
		secretBefore = secretBefore || shown != option
		b.WriteString(shown)
		b.WriteString(separator)
	}
	return b.String(), cut
}

// splitOptions yields what stands between & and ;, each with the separator behind it.
func splitOptions(options string) iter.Seq2[string, string] {
	return func(yield func(option, separator string) bool) {
		for options != "" {
			end := strings.IndexAny(options, "&;")
			if end < 0 {
				yield(options, "")
				return
			}
			if !yield(options[:end], options[end:end+1]) {
				return
			}
			options = options[end+1:]
		}
	}
}

// redactedPlace is what stands before the options: without a colon and // it is all of a user that may be a password.
func redactedPlace(place string) string {
	if i := secretValue(place); i >= 0 { // host=h password=… is how other clients are told
		place = place[:i] + unshown
	}
	colon := strings.IndexByte(place, ':')
	at := lastAt(place)
	if colon < 0 || at < colon {
		return place
	}
	start := colon + 1
	if strings.HasPrefix(place[start:], "//") {
		start += len("//")
		colon = strings.IndexByte(place[min(start, at):at], ':')
		if colon < 0 {
			return place
		}
		start += colon + 1
	}
	return place[:start] + unshown + place[at:]
}

// redactedOption is one of a URL's options.
func redactedOption(option string) string {
	name, value, pair := strings.Cut(option, "=")
	decodedName, nameErr := url.QueryUnescape(name)
	decodedValue, valueErr := url.QueryUnescape(value)
	if valueErr != nil {
		decodedValue = value
	}
	switch {
	case secretValue(decodedName) >= 0, hasUser(name), hasUser(decodedName):
		return unshown
	case nameErr != nil, isSecret(decodedName), secretValue(decodedValue) >= 0, hasUser(value), hasUser(decodedValue):
		if pair {
			return name + "=" + unshown
		}
		return unshown
	}
	return option
}

// said is an error's text, which may repeat a part of the URL, with each word redacted as a URL is.
func said(text string, cut []string) string {
	for _, part := range cut {
		text = strings.ReplaceAll(text, part, unshown)
	}
	var b strings.Builder
	for text != "" {
		end := strings.IndexAny(text, " \t\r\n\"'`")
		if end < 0 {
			end = len(text)
		}
		shown, _ := redacted(text[:end])
		b.WriteString(shown)
		b.WriteString(text[end:min(end+1, len(text))])
		text = text[min(end+1, len(text)):]
	}
	return b.String()
}

// isSecret says of an option's name whether its value is secret; sslkey and passfile are paths, and no loss.
func isSecret(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"pass", "pwd", "secret", "token", "key", "cred", "auth"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// secretValue is where in a text what follows name= is secret by its name, or -1.
func secretValue(text string) int {
	for i := range len(text) {
		if text[i] == '=' && isSecret(text[:i]) {
			return i + 1
		}
	}
	return -1
}

// hasUser says whether a text may hold user:password@.
func hasUser(text string) bool {
	colon := strings.IndexByte(text, ':')
	return colon >= 0 && lastAt(text) > colon
}

// lastAt is the last @, plain or escaped, or -1.
func lastAt(text string) int {
	return max(strings.LastIndexByte(text, '@'), strings.LastIndex(text, "%40"))
}
