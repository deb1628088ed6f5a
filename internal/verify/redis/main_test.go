package redis

import (
	"flag"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) {
	// So many sequences each property is tried with, unless the command line says how many: make fuzz asks for more.
	if err := flag.Set("rapid.checks", "2000"); err != nil {
		panic(err)
	}
	testservice.Main(m)
}

// connect returns a client of the shared Redis.
func connect(t testing.TB) *goredis.Client {
	t.Helper()
	o, err := goredis.ParseURL(testservice.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}
