package main

// explained says of mutants that survive why no test can tell them from the code: by the file and the change.
var explained = map[string]string{}

func explanation(v Verdict) string { return explained[v.File+": "+v.Change] }
