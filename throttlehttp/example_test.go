package throttlehttp_test

import (
	"fmt"
	"net/http"

	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

// What a store holds that other programs use, behind the program's own authentication.
func ExampleStoreHandler() {
	store := memory.New() // or driver.Open(ctx, "redis://limits:6379/0")
	page, err := throttlehttp.StoreHandler(store, &throttlehttp.Options{Title: "limits"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer page.Close()
	authenticated := func(next http.Handler) http.Handler { return next } // yours
	mux := http.NewServeMux()
	mux.Handle("/limits", authenticated(page))
}
