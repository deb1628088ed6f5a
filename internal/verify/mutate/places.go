package main

// place is code to break, and the tests that are to notice.
type place struct {
	name  string
	pkg   string   // the code's package, from the module's root
	files []string // of it, or globs
	part  float64  // of all mutants, beside the other places' parts
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

var script = []test{
	tests("internal/verify/redis", "-test.run=Vectors"),
	tests("internal/verify/redis", "-test.run=TestScriptIsTheSameArithmetic", "-rapid.checks=300", rapidQuick, "-rapid.nofailfile"),
	tests("internal/verify/redis", "-test.run=TestUsualRequestsAreQuick|TestExpiry|TestStateLost|TestScriptIs|TestScriptWithout", rapidQuick, "-rapid.nofailfile"),
	tests("internal/verify/redis", "-test.run=TestConformance$"),
}

var boltTests = []test{
	tests("driver/bolt", "-test.run=TestConformance$"),
	tests("driver/bolt", ""),
}

var postgresTests = []test{
	tests("driver/postgres", ""),
	tests("internal/verify/postgres", "-test.run=TestConformance$"),
	tests("internal/verify/postgres", "-test.run=TestConflict|TestBounded|TestContext|TestLate|TestState|TestUpdates|TestPrune|TestWhen|TestLong|TestApply|TestReadable|TestNotify|TestNothing|TestBroken|TestLocked|TestTable"),
}

// sharesOf says how many of n mutants each place has, n in all.
func sharesOf(n int) []int {
	whole, before := 0.0, 0.0
	for _, p := range places {
		whole += p.part
	}
	var list []int
	drawn := 0
	for _, p := range places {
		before += p.part
		upTo := int(float64(n)*before/whole + 0.5)
		list = append(list, upTo-drawn)
		drawn = upTo
	}
	return list
}

// places are what is broken on purpose: what decides who gets how much, and what keeps it. docs/reliability.md lists them,
// and what isn't among them.
var places = []place{
	{"bucket", "bucket", []string{"apply.go", "refill.go", "state.go", "replay.go", "valid.go", "short.go"}, 0.175, arithmetic},
	{"line", "bucket", []string{"line.go", "tags.go"}, 0.15, arithmetic},
	{"script", "internal/redisscript", []string{"lua/[ahl]*.lua", "lua/op.lua", "lua/request.lua", "lua/st*.lua"}, 0.11, script},
	{"script's short way", "internal/redisscript", []string{"lua/quick.lua", "lua/unrolled.lua"}, 0.05, script},
	{"limiter", ".", []string{"lane.go", "send.go", "flush.go", "acquire.go", "reservation.go", "family.go", "usage.go", "local.go", "lookout.go", "task.go"}, 0.14, []test{
		tests(".", "-test.short"),
		tests(".", ""),
		tests("internal/verify/leaks", ""),
		tests("conformance", ""),
	}},
	{"calls in the process", "driver", []string{"local.go"}, 0.03, []test{
		tests("driver", ""),
		tests("driver/memory", ""),
		tests(".", "-test.short"),
		tests("conformance", ""),
	}},
	{"memory", "driver/memory", []string{"*.go"}, 0.08, []test{tests("driver/memory", ""), tests("conformance", "")}},
	{"bolt", "driver/bolt", []string{"apply.go", "sweep.go"}, 0.07, boltTests},
	{"bolt's sums", "driver/bolt", []string{"record.go", "check.go"}, 0.04, boltTests},
	{"redis", "driver/redis", []string{"attempt.go", "job.go"}, 0.07, []test{
		tests("driver/redis", ""),
		tests("internal/verify/redis", "-test.run=TestConformance$"),
		tests("internal/verify/redis", "-test.run=TestOneLoss|TestRefusedAfter|TestOneCommand|TestExpiry|TestState|TestScriptIsGone|TestServer|TestReplica|TestKeyHolds|TestTooMany|TestNobody|TestClient|TestNotification"),
	}},
	{"postgres", "driver/postgres", []string{"apply.go", "work.go"}, 0.07, postgresTests},
	{"postgres's statements", "driver/postgres", []string{"sql.go", "prune.go"}, 0.05, postgresTests},
}
