// Package redis tests driver/redis and its script against real servers, with libraries that users must not inherit.
package redis
