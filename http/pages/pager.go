package pages

import (
	"net/url"
	"strconv"
)

// pager leads through a long list.
type pager struct {
	From, To, All  int    // what is shown, counted from one
	Previous, Next string // "": there is none
}

// paged cuts out of a list the page that u's query asks for.
func paged[T any](u *url.URL, list []T, size int) (pager, []T) {
	n, err := strconv.Atoi(u.Query().Get("page"))
	if last := max((len(list)-1)/size, 0) + 1; err != nil || n < 1 {
		n = 1
	} else {
		n = min(n, last)
	}
	from := (n - 1) * size
	to := min(from+size, len(list))
	p := pager{From: min(from+1, to), To: to, All: len(list)}
	if n > 1 {
		p.Previous = pageURL(u, n-1)
	}
	if to < len(list) {
		p.Next = pageURL(u, n+1)
	}
	return p, list[from:to]
}

func pageURL(u *url.URL, n int) string {
	q := u.Query()
	q.Del("done")
	q.Set("page", strconv.Itoa(n))
	return u.Path + "?" + q.Encode()
}
