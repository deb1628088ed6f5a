package postgres

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Options say where the table is and how to use it. nil, like the zero Options, means the defaults.
type Options struct {
	// Schema and Table name the table, in any characters; the defaults are "public" and "throttle". At most 63 bytes each.
	Schema, Table string

	// Timeout bounds an Apply, its repeats included; 0 means 4 s, which is less than a limiter's store timeout, so that
	// the error says what was wrong. A ctx that ends sooner ends it sooner.
	Timeout time.Duration

	// AsyncCommit makes transactions return before they are on disk (synchronous_commit=off, for them alone). It saves
	// the wait for the disk. A crash of the server forgets what was committed last, by default up to 0.6 s of it.
	AsyncCommit bool

	// PruneEvery is how often the driver deletes rows of keys that equal absent ones; 0 means once a minute, and a
	// negative value never. Some program must do it, or [Driver.Prune] must be called from elsewhere.
	PruneEvery time.Duration

	// Listen is where [Notifying] connects to listen; nil means where the pool connects. It needs a session of its own,
	// so behind a pooler in transaction mode it must name the server itself.
	Listen *pgx.ConnConfig

	// Unlogged makes [Migrate] create a table that isn't written to the log: faster, but a crash of the server empties
	// it, and a standby never has it. A table that exists stays as it is.
	Unlogged bool
}

// OptionError says which of the [Options], or which other argument, is out of range.
type OptionError struct {
	Option, Value, Want string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("driver/postgres: option %s %.80q: want %s", e.Option, e.Value, e.Want)
}

const (
	defaultSchema     = "public"
	defaultTable      = "throttle"
	defaultTimeout    = 4 * time.Second
	defaultPruneEvery = time.Minute

	maxIdentifier = 63 // NAMEDATALEN - 1: Postgres would cut off what is longer
)

// errNoConnection is of a nil pool, or whatever begins transactions.
var errNoConnection = &OptionError{"pool", "nil", "a connection pool"}

// withDefaults returns the options with every default filled in.
func (o *Options) withDefaults() (Options, error) {
	if o == nil {
		o = &Options{}
	}
	filled := *o
	if filled.Schema == "" {
		filled.Schema = defaultSchema
	}
	if filled.Table == "" {
		filled.Table = defaultTable
	}
	if filled.Timeout == 0 {
		filled.Timeout = defaultTimeout
	}
	if filled.PruneEvery == 0 {
		filled.PruneEvery = defaultPruneEvery
	}
	for _, name := range []struct{ option, value string }{{"Schema", filled.Schema}, {"Table", filled.Table}} {
		if len(name.value) > maxIdentifier || strings.ContainsRune(name.value, 0) || !utf8.ValidString(name.value) {
			return Options{}, &OptionError{name.option, name.value, fmt.Sprintf("up to %d bytes of UTF-8 without NUL", maxIdentifier)}
		}
	}
	if filled.Timeout < 0 {
		return Options{}, &OptionError{"Timeout", filled.Timeout.String(), "more than 0"}
	}
	return filled, nil
}

// qualified is the quoted name of the table.
func (o *Options) qualified() string { return pgx.Identifier{o.Schema, o.Table}.Sanitize() }
