// Package throttleprom exports what a limiter does to Prometheus. Its import path ends in prometheus; give it its own
// name where you import it, beside client_golang's:
//
//	import throttleprom "github.com/tokenthrottle/throttle/prometheus"
//
//	lim := throttle.New(…)
//	err := throttleprom.Register(prometheus.DefaultRegisterer, lim, nil)
//
// # Basics
//
// [Register] does all there is to do for one limiter. It is made of two parts: hooks that count what the calls of this
// process did ([NewHooks]), and a collector that asks the store, at each scrape, for levels, limits and lines
// ([NewCollector]). docs/observability.md says what each metric means and what to alert on; contrib/ has a dashboard
// and alert rules.
//
// Units are those of the resource that a series is labelled with: tokens, requests, dollars. Labels are bounded: families
// by MaxFamilies (the rest counts as "other"), resources and periods by the quotas, and flows appear only if they are
// listed.
//
// # Caveats
//
// Two limiters can't be registered with one registry as they are, since their series would have the same names. Give
// each a label:
//
//	throttleprom.Register(prometheus.WrapRegistererWith(prometheus.Labels{"limiter": "eu"}, reg), lim, nil)
//
// Levels and lines are the store's, so every process that shares it exports the same: take the max or any of them, never
// the sum. Counts are each process's own: sum them.
package throttleprom
