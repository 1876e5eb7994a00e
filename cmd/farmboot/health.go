package main

import (
	"context"
	"strings"
)

// unhealthy says in one line why nodes cannot boot from here; "" if they can.
func (a *appliance) unhealthy(context.Context) string {
	return strings.Join(a.endpoints.problems(), "; ")
}
