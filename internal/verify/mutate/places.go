package main

// place is code to break, and the tests that are to notice.
type place struct {
	name  string
	pkg   string   // the code's package, from the module's root
	files []string // of it, or globs
	part  float64  // of all mutants
	tests []test   // quickest first
}

// test is a package of tests and the arguments for its program.
type test struct {
	pkg  string
	args []string
}

func tests(pkg string, args ...string) test { return test{pkg, args} }

// rapidQuick keeps rapid from searching for the simplest failure: that there is one is enough.
const rapidQuick = "-rapid.shrinktime=1ms"

var arithmetic = []test{
	tests("bucket", "-test.run=Vectors"),
	tests("internal/verify/bucket", rapidQuick, "-rapid.nofailfile"),
	tests("bucket", "-test.short"),
	tests("bucket", ""),
	tests("internal/verify/bucket", "-rapid.checks=500", rapidQuick, "-rapid.nofailfile"),
}

var places = []place{
	{"bucket", "bucket", []string{"apply.go", "refill.go", "state.go", "replay.go", "valid.go", "short.go"}, 0.2, arithmetic},
	{"line", "bucket", []string{"line.go", "tags.go"}, 0.17, arithmetic},
	{"script", "internal/redisscript", []string{"lua/*.lua"}, 0.15, []test{
		tests("internal/verify/redis", "-test.run=Vectors"),
		tests("internal/verify/redis", "-test.run=TestScriptIsTheSameArithmetic", "-rapid.checks=300", rapidQuick, "-rapid.nofailfile"),
		tests("internal/verify/redis", "-test.run=TestUsualRequestsAreQuick|TestExpiry|TestStateLost|TestScriptIs|TestScriptWithout", rapidQuick, "-rapid.nofailfile"),
		tests("internal/verify/redis", "-test.run=TestConformance$"),
	}},
	{"limiter", ".", []string{"lane.go", "send.go", "flush.go", "acquire.go", "reservation.go", "family.go", "usage.go"}, 0.16, []test{
		tests(".", "-test.short"),
		tests(".", ""),
		tests("internal/verify/leaks", ""),
		tests("conformance", ""),
	}},
	{"memory", "driver/memory", []string{"*.go"}, 0.08, []test{tests("driver/memory", ""), tests("conformance", "")}},
	{"bolt", "driver/bolt", []string{"apply.go", "sweep.go", "record.go"}, 0.08, []test{
		tests("driver/bolt", "-test.run=TestConformance$"),
		tests("driver/bolt", ""),
	}},
	{"redis", "driver/redis", []string{"attempt.go", "job.go"}, 0.08, []test{
		tests("driver/redis", ""),
		tests("internal/verify/redis", "-test.run=TestConformance$"),
		tests("internal/verify/redis", "-test.run=TestOneLoss|TestOneCommand|TestExpiry|TestStateLost|TestScriptIsGone|TestServer|TestReplica|TestKeyHolds|TestTooMany|TestNobody|TestClient|TestNotification"),
	}},
	{"postgres", "driver/postgres", []string{"apply.go", "work.go"}, 0.08, []test{
		tests("driver/postgres", ""),
		tests("internal/verify/postgres", "-test.run=TestConformance$"),
		tests("internal/verify/postgres", "-test.run=TestConflict|TestBounded|TestContext|TestLate|TestState|TestUpdates|TestPrune|TestReadable|TestNotify|TestNothing|TestBroken"),
	}},
}
