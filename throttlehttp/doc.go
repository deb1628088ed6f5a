// Package throttlehttp serves a page that shows what a limiter does: levels as bars, use against limits over the last
// minutes, who waits and for how long, and what happened lately. Mount it beside net/http/pprof:
//
//	mux.Handle("/debug/throttle", throttlehttp.Handler(lim, nil))
//
// # Basics
//
// The page is one document without outside assets, under a strict Content-Security-Policy. Whoever has it open is sent a
// snapshot a second as a server-sent event. One poller serves all viewers, and while nobody looks nothing runs.
//
// The handler answers at whatever path it is mounted, to GET and HEAD:
//
//	/debug/throttle          the page
//	/debug/throttle?events   the stream, text/event-stream
//	/debug/throttle?json     one snapshot, for scripts
//
// A [Page] for a store that this process only looks at is made by [StoreHandler]; the command "throttle serve" does that.
//
// # Security
//
// The page shows names of families and flows, limits and levels; never requests, nor keys. It changes nothing and sets no
// cookies. It has no access control of its own: mount it where only you can reach it, or behind your own middleware. The
// stream is at the page's own URL, so cookies and HTTP authentication reach it as they reach the page. Requests that a
// browser marks as coming from another site are refused, and so is framing.
//
// # Caveats
//
// A stream ends only when its viewer goes, and http.Server.Shutdown waits for it. Let Shutdown end them:
//
//	page := throttlehttp.Handler(lim, nil)
//	server.RegisterOnShutdown(page.Close)
package throttlehttp
