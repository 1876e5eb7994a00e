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
	p, skipped := pageOf(u, len(list), size)
	return p, list[skipped:p.To]
}

// pageOf finds the page that u's query asks for, in a list of so many, and how many
// of them stand before it.
func pageOf(u *url.URL, all, size int) (p pager, skipped int) {
	n, err := strconv.Atoi(u.Query().Get("page"))
	if last := max((all-1)/size, 0) + 1; err != nil || n < 1 {
		n = 1
	} else {
		n = min(n, last)
	}
	skipped = (n - 1) * size
	to := min(skipped+size, all)
	p = pager{From: min(skipped+1, to), To: to, All: all}
	if n > 1 {
		p.Previous = pageURL(u, n-1)
	}
	if to < all {
		p.Next = pageURL(u, n+1)
	}
	return p, skipped
}

func pageURL(u *url.URL, n int) string {
	q := u.Query()
	q.Del("done")
	q.Del("node")
	q.Set("page", strconv.Itoa(n))
	return u.Path + "?" + q.Encode()
}
