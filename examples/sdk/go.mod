module github.com/tokenthrottle/throttle/examples/sdk

go 1.25.0

replace github.com/tokenthrottle/throttle => ../..

require (
	github.com/anthropics/anthropic-sdk-go v1.4.0
	github.com/openai/openai-go/v3 v3.1.0
	github.com/tokenthrottle/throttle v0.0.0-00010101000000-000000000000
)

require (
	github.com/dlclark/regexp2 v1.10.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/pkoukk/tiktoken-go v0.1.6 // indirect
	github.com/pkoukk/tiktoken-go-loader v0.0.2 // indirect
	github.com/tidwall/gjson v1.14.4 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.1 // indirect
	github.com/tidwall/sjson v1.2.5 // indirect
)
