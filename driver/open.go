package driver

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Opener makes a driver from a URL of its scheme. It reads options through [Query], so that an option it doesn't know
// is an error.
type Opener func(ctx context.Context, u *url.URL) (Driver, error)

var (
	openersMu sync.RWMutex
	openers   = map[string]Opener{}
)

// Register makes a scheme known to [Open]. Driver packages call it from init; it panics if the scheme is taken or can't
// be one (a small letter, then small letters, digits, +, - and .), or open is nil.
func Register(scheme string, open Opener) {
	openersMu.Lock()
	defer openersMu.Unlock()
	if open == nil {
		panic("driver: Register: nil Opener for " + scheme)
	}
	if u, err := url.Parse(scheme + "://host"); err != nil || u.Scheme != scheme || scheme == "" {
		panic(fmt.Sprintf("driver: Register: %q is no scheme", scheme))
	}
	if _, taken := openers[scheme]; taken {
		panic("driver: Register called twice for " + scheme)
	}
	openers[scheme] = open
}

// Schemes are the registered schemes, sorted.
func Schemes() []string {
	openersMu.RLock()
	defer openersMu.RUnlock()
	return slices.Sorted(maps.Keys(openers))
}

// Open opens the store that a URL names: memory://, bolt:///path/file.db, redis://host:6379, postgres://host/db, or
// whatever else is registered. The package of the driver must be imported. Errors are an [*OpenError], which shows no
// password, nor what may be one in a URL that isn't well formed.
func Open(ctx context.Context, rawURL string) (Driver, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &OpenError{URL: "", Err: fmt.Errorf("not a URL: want scheme://…, with one of the schemes %s", strings.Join(Schemes(), ", "))}
	}
	openersMu.RLock()
	open := openers[u.Scheme]
	openersMu.RUnlock()
	shown, cut := redacted(rawURL)
	if open == nil {
		return nil, &OpenError{URL: shown, cut: cut, Err: &UnknownSchemeError{Scheme: u.Scheme, Known: Schemes()}}
	}
	d, err := open(ctx, u)
	if err != nil {
		return nil, &OpenError{URL: shown, cut: cut, Err: err}
	}
	return d, nil
}

// OpenError is what [Open] returns.
type OpenError struct {
	URL string // without its password; empty if it is none
	Err error

	cut []string // what Err must not say
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("driver: open %q: %s", e.URL, said(fmt.Sprint(e.Err), e.cut))
}

// Unwrap returns the reason. Its own text may repeat what it was given.
func (e *OpenError) Unwrap() error { return e.Err }

// UnknownSchemeError says that no imported driver has registered the scheme.
type UnknownSchemeError struct {
	Scheme string
	Known  []string
}

func (e *UnknownSchemeError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("unknown scheme %q: no driver is registered: import one, such as _ \"github.com/tokenthrottle/throttle/driver/memory\"", e.Scheme)
	}
	return fmt.Sprintf("unknown scheme %q: registered are %s: use one of them, or import the driver's package", e.Scheme, strings.Join(e.Known, ", "))
}

// Query reads the options of a driver's URL. Each getter returns the default where the option is absent; [Query.Err]
// reports every option that was malformed or that nobody asked for.
type Query struct {
	values url.Values
	known  map[string]string // option → what it takes
	errs   []string
}

// NewQuery reads u's options.
func NewQuery(u *url.URL) *Query {
	q := &Query{known: map[string]string{}}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		q.errs = append(q.errs, "malformed options: want name=value, with & between them, and %xx for what is not plain")
	}
	q.values = values
	return q
}

func (q *Query) get(name, takes string) (string, bool) {
	q.known[name] = takes
	v, ok := q.values[name]
	if !ok {
		return "", false
	}
	if len(v) > 1 {
		q.errs = append(q.errs, fmt.Sprintf("option %s is given %d times", name, len(v)))
	}
	return v[0], true
}

func (q *Query) bad(name, value string) {
	q.errs = append(q.errs, fmt.Sprintf("option %s=%q: want %s", name, value, q.known[name]))
}

// String returns a text option.
func (q *Query) String(name, def string) string {
	if v, ok := q.get(name, "text"); ok {
		return v
	}
	return def
}

// Duration returns an option like 500ms or 2s; not negative.
func (q *Query) Duration(name string, def time.Duration) time.Duration {
	v, ok := q.get(name, "a duration like 500ms or 2s")
	if !ok {
		return def
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		q.bad(name, v)
		return def
	}
	return d
}

// Int returns a whole number from least up.
func (q *Query) Int(name string, def, least int) int {
	v, ok := q.get(name, fmt.Sprintf("a whole number from %d", least))
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least {
		q.bad(name, v)
		return def
	}
	return n
}

// Bool returns true or false.
func (q *Query) Bool(name string, def bool) bool {
	v, ok := q.get(name, "true or false")
	if !ok {
		return def
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		q.bad(name, v)
		return def
	}
	return b
}

// Err returns nil, or an error that names every bad option and says which are allowed. Call it after all getters.
func (q *Query) Err() error {
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		if _, ok := q.known[name]; !ok {
			q.errs = append(q.errs, fmt.Sprintf("unknown option %q", name))
		}
	}
	if len(q.errs) == 0 {
		return nil
	}
	allowed := make([]string, 0, len(q.known))
	for _, name := range slices.Sorted(maps.Keys(q.known)) {
		allowed = append(allowed, name+" ("+q.known[name]+")")
	}
	if len(allowed) == 0 {
		allowed = []string{"none"}
	}
	return &OptionError{Problems: q.errs, Allowed: allowed}
}

// Rest returns the options that no getter has asked for, for a driver that hands them on to its client, and counts them
// as known.
func (q *Query) Rest() url.Values {
	rest := url.Values{}
	for name, v := range q.values {
		if _, ok := q.known[name]; !ok {
			rest[name] = v
			q.known[name] = "the client's own"
		}
	}
	return rest
}

// OptionError says which options of a URL were bad, and which are allowed.
type OptionError struct {
	Problems []string
	Allowed  []string
}

func (e *OptionError) Error() string {
	return strings.Join(e.Problems, "; ") + "; allowed: " + strings.Join(e.Allowed, ", ")
}
