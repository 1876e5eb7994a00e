package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

// listEvents answers GET /api/v1/events, oldest first: those that follow since, or
// the newest there are.
func (a *API) listEvents(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	q := r.URL.Query()
	var eq provisioning.EventQuery
	var err error
	if eq.MAC, err = macOf(q, "mac"); err != nil {
		return err
	}
	if eq.Limit, err = limit(q, page); err != nil {
		return err
	}
	if s := q.Get("since"); s == "" {
		eq.Last = true
	} else if eq.After, eq.Since, err = since(s); err != nil {
		return err
	}
	events, err := a.Registry.Events(r.Context(), by, eq)
	if err != nil {
		return err
	}
	if n := len(events); n == eq.Limit && !eq.Last {
		w.Header().Set("X-Next-After", strconv.FormatInt(events[n-1].ID, 10))
	}
	for i := range events {
		events[i] = cause.Told(events[i])
	}
	return writeJSON(w, http.StatusOK, list(events))
}

// firstUnixTime is the least number that is taken for a Unix time, not for an event's id:
// in September 2001, and an appliance that stores 100 events a second for four months.
const firstUnixTime = 1_000_000_000

// since reads from when on events are asked for: the ID of the last one that the
// client has, or a time, in seconds since 1970 or as RFC 3339 writes it.
func since(s string) (after int64, at time.Time, err error) {
	switch n, err := strconv.ParseInt(s, 10, 64); {
	case err == nil && n >= firstUnixTime:
		return 0, time.Unix(n, 0), nil
	case err == nil && n >= 0:
		return n, time.Time{}, nil
	}
	// A + that is not percent-encoded arrives as a space.
	at, err = time.Parse(time.RFC3339, strings.ReplaceAll(s, " ", "+"))
	if err != nil {
		err = provisioning.Errorf(provisioning.Invalid, "bad since %.40q: accepted are the id of an event, and a time like 2026-11-23T09:00:00Z or 1795424400", s)
	}
	return 0, at, err
}

// resume reads where a stream goes on: behind the event that the client saw last
// (header Last-Event-ID, which browsers send by themselves), or the parameter since.
func resume(header, parameter string) (q provisioning.EventQuery, replay bool, err error) {
	switch {
	case header != "":
		if q.After, err = strconv.ParseInt(header, 10, 64); err != nil || q.After < 0 {
			err = provisioning.Errorf(provisioning.Invalid, "bad Last-Event-ID %.40q: accepted is the id of an event", header)
		}
	case parameter != "":
		q.After, q.Since, err = since(parameter)
	default:
		return q, false, nil
	}
	return q, true, err
}
