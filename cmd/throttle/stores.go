package main

import (
	"context"
	"net/url"
	"os"
	"strings"

	"github.com/tokenthrottle/throttle/driver"
	// The stores that --store can name.
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	_ "github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
)

// storeHelp is what --store can be.
const storeHelp = "memory://, bolt:///path/limits.db, redis://host:6379/0, postgres://user@host/db"

// storeURL lets "memory" stand for the URL that has nothing else to say.
func storeURL(store string) string {
	if store == "memory" {
		return "memory://"
	}
	return store
}

// openStore opens the store of a command line; what is wrong with it is wrong usage.
func openStore(ctx context.Context, rawURL string) (driver.Driver, error) {
	if !strings.Contains(storeURL(rawURL), ":") { // such as a path alone
		shown := rawURL
		if strings.Contains(rawURL, "=") { // a database's key=value form, with a password perhaps
			shown = "…"
		}
		return nil, usageError("--store %s: want a URL, such as %s", shown, storeHelp)
	}
	d, err := driver.Open(ctx, storeURL(rawURL))
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return d, nil
}

// openExistingStore is openStore for a command that only looks: it makes no new file.
func openExistingStore(ctx context.Context, rawURL string) (driver.Driver, error) {
	u, err := url.Parse(storeURL(rawURL))
	if err == nil && u.Scheme == "memory" {
		return nil, usageError("--store %s: a memory store is in the process that uses it: no other can look into it", rawURL)
	}
	if err == nil && u.Scheme == "bolt" && u.Host == "" { // with a host it is no file's path, as the driver will say
		path := u.Path
		if u.Opaque != "" {
			path, _ = url.PathUnescape(u.Opaque)
		}
		if info, err := os.Stat(path); err != nil {
			return nil, &exit{exitUsage, err}
		} else if info.Size() == 0 { // opening would make a store of it
			return nil, usageError("--store %s: the file is empty: no limiter has used it yet", rawURL)
		}
	}
	return openStore(ctx, rawURL)
}
