package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

type serveCommand struct {
	Families []string `arg:"" optional:"" name:"family" help:"The families to show. Default: all that the store holds, up to --most."`
	Store    string   `required:"" placeholder:"URL" help:"The store: redis://host:6379/0, postgres://user@host/db, bolt:///path/limits.db."`
	Listen   string   `default:"127.0.0.1:7171" placeholder:"ADDR" help:"Address to listen on. Default: ${default}."`
	Most     int      `default:"100" placeholder:"N" help:"How many families to show. Default: ${default}."`
}

// Help is shown by --help.
func (serveCommand) Help() string {
	return `A page that shows, live, what a store holds: levels as bars, use against limits over the last minutes, who waits and for how
long. It prints its URL on a line of standard output and runs until it is interrupted. Nothing can be changed through it.
The store is read once a second while somebody looks, and not otherwise.

There is no access control: on the loopback interface, which is the default, only this machine's users can see the page. A
program that has a limiter shows more, its own calls too, if it mounts the page itself: package throttlehttp. A bolt file is
open in one process at a time, and nobody else can open it while this runs.

Exit codes: 0 interrupted, 2 wrong usage or a store that can't be opened, 4 failed.`
}

// Run runs the command.
func (c *serveCommand) Run(p *program) error {
	if c.Most < 1 {
		return usageError("--most is %d: want 1 or more", c.Most)
	}
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := openExistingStore(ctx, c.Store)
	if err != nil {
		return err
	}
	defer d.Close()
	page, err := c.page(d)
	if err != nil {
		return err
	}
	defer page.Close()
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return &exit{exitUsage, err}
	}
	address := listener.Addr().(*net.TCPAddr)
	server := &http.Server{Handler: page, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	if address.IP.IsLoopback() {
		server.Handler = onlyLocal(page)
	} else {
		fmt.Fprintln(p.stderr, "Whoever can reach this address sees the page.")
	}
	server.RegisterOnShutdown(page.Close)
	fmt.Fprintf(p.stdout, "http://%s/\n", address)
	return serve(ctx, server, listener)
}

// serve serves until ctx ends; then it gives what is under way two seconds and cuts off the rest.
func serve(ctx context.Context, server *http.Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return &exit{exitFailed, err}
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); errors.Is(err, context.DeadlineExceeded) {
		_ = server.Close()
	}
	<-served
	return nil
}

func (c *serveCommand) page(d driver.Driver) (*throttlehttp.Page, error) {
	page, err := throttlehttp.StoreHandler(d, &throttlehttp.Options{Title: storeName(c.Store), Models: c.Families, MaxFamilies: c.Most})
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return page, nil
}

// storeName is a store's URL without what is secret or long.
func storeName(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// onlyLocal refuses requests whose Host isn't this machine's own: a page elsewhere whose name resolves to 127.0.0.1 (DNS
// rebinding) could read everything otherwise.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this page is for localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
