package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"farmboot/http/answer"
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
	answer.ExtendWrite(w)
	w.WriteHeader(status)
	_, _ = w.Write(body)
	return nil
}

// created answers that something new is at that path now.
func created(w http.ResponseWriter, path string, v any) error {
	w.Header().Set("Location", path)
	return writeJSON(w, http.StatusCreated, v)
}

// reply answers with v, unless err says why not.
func reply(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, v)
}

// noContent answers that it is done, and that there is nothing more to say, unless err
// says why not.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// list is items as a JSON array, which is never null.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}

// chunk is how much of a long answer is held at a time, in bytes.
const chunk = 64 << 10

// array is an answer that is a JSON array, and goes out in parts.
type array struct {
	w     http.ResponseWriter
	part  bytes.Buffer
	any   bool // it has items
	begun bool // a part has gone out
}

// add appends v.
func (a *array) add(v any) error {
	item, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if a.any {
		a.part.WriteString(",\n")
	} else {
		a.part.WriteString("[")
	}
	a.any = true
	a.part.Write(item)
	if a.part.Len() < chunk {
		return nil
	}
	return a.send()
}

func addAll[T any](a *array, items []T) error {
	for _, item := range items {
		if err := a.add(item); err != nil {
			return err
		}
	}
	return nil
}

// end sends the rest. The client may have gone, which is not our fault.
func (a *array) end() error {
	if !a.any {
		a.part.WriteString("[")
	}
	a.part.WriteString("]\n")
	_ = a.send()
	return nil
}

func (a *array) send() error {
	answer.ExtendWrite(a.w)
	a.begun = true
	a.w.Header().Set("Content-Type", "application/json")
	_, err := a.part.WriteTo(a.w)
	return err
}
