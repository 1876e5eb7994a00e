package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	defer patiently(w)()
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// created answers that something new is at that path now.
func created(w http.ResponseWriter, path string, v any) error {
	w.Header().Set("Location", path)
	return writeJSON(w, http.StatusCreated, v)
}

// noContent answers that it is done, and that there is nothing more to say.
func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list is items as a JSON array, which is never null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
