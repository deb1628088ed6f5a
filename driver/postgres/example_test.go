package postgres_test

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/postgres"
)

// With a pool that the program has already. Migrate may run at each start, or SQL's statements elsewhere.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	if err := postgres.Migrate(ctx, pool, nil); err != nil {
		fmt.Println(err)
		return
	}
	d, err := postgres.New(ctx, pool, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	lim := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 500)))
	defer lim.Close()
}

// Credits in one process wake those who wait in others, at the price of a connection that listens.
func ExampleNewNotifying() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()
	d, err := postgres.NewNotifying(ctx, pool, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
}

// For those who run migrations with a tool of their own.
func ExampleSQL() {
	statements, err := postgres.SQL(nil)
	fmt.Println(len(statements) > 0, err)
	// Output: true <nil>
}
