// Package observe verifies what shows a limiter to people, with libraries that users must not inherit: OpenTelemetry's
// SDK, and a browser.
package observe
