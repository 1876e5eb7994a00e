package sqlstore

import (
	"context"
	"fmt"

	"farmboot/provisioning"
)

const tokenColumns = `id, role, coalesce(farmer, 0), name, expires, read_only, created, last_used, hash`

func scanToken(t *provisioning.Token) []any {
	return []any{&t.ID, &t.Role, &t.Farmer, &t.Name, millis{&t.Expires}, flag{&t.ReadOnly}, millis{&t.Created}, millis{&t.LastUsed}, hash{&t.Hash}}
}

// hash reads the hash of a secret.
type hash struct{ h *provisioning.SecretsHash }

// Scan reads the 32 bytes.
func (h hash) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(h.h) {
		return fmt.Errorf("scan hash of a secret from %T", src)
	}
	copy(h.h[:], b)
	return nil
}

// Token implements [provisioning.Reader].
func (r Reader) Token(ctx context.Context, id string) (provisioning.Token, error) {
	var t provisioning.Token
	err := r.one(ctx, scanToken(&t), `SELECT `+tokenColumns+` FROM tokens WHERE id = $1`, id,
		"no token %q", id)
	return t, err
}

// Tokens implements [provisioning.Reader].
func (r Reader) Tokens(ctx context.Context) ([]provisioning.Token, error) {
	return all(ctx, r, scanToken, `SELECT `+tokenColumns+` FROM tokens ORDER BY created, id`)
}

// PutToken implements [provisioning.Tx].
func (t Tx) PutToken(ctx context.Context, tok provisioning.Token) error {
	return t.exec(ctx, `INSERT INTO tokens (id, role, farmer, name, expires, read_only, created, last_used, hash)
		VALUES ($1, $2, nullif($3, CAST(0 AS BIGINT)), $4, $5, $6, $7, $8, $9)
		ON CONFLICT (id) DO UPDATE SET role = excluded.role, farmer = excluded.farmer, last_used = excluded.last_used`,
		tok.ID, string(tok.Role), int64(tok.Farmer), tok.Name, provisioning.Millis(tok.Expires), bit(tok.ReadOnly), provisioning.Millis(tok.Created), provisioning.Millis(tok.LastUsed), tok.Hash[:])
}

// DeleteToken implements [provisioning.Tx].
func (t Tx) DeleteToken(ctx context.Context, id string) error {
	return t.exec(ctx, `DELETE FROM tokens WHERE id = $1`, id)
}

func scanSession(s *provisioning.Session) []any {
	return []any{hash{&s.Hash}, &s.Token, &s.Who, millis{&s.Began}, millis{&s.LastUsed}, &s.Role, &s.Farmer, &s.ReadOnly}
}

// Session implements [provisioning.Reader].
func (r Reader) Session(ctx context.Context, h provisioning.SecretsHash) (provisioning.Session, error) {
	var s provisioning.Session
	err := r.one(ctx, scanSession(&s), `SELECT hash, coalesce(token, ''), who, began, last_used, role, farmer, read_only FROM sessions WHERE hash = $1`, h[:],
		"no such session")
	return s, err
}

// PutSession implements [provisioning.Tx].
func (t Tx) PutSession(ctx context.Context, s provisioning.Session) error {
	return t.exec(ctx, `INSERT INTO sessions (hash, token, who, began, last_used, role, farmer, read_only) VALUES ($1, nullif($2, ''), $3, $4, $5, $6, $7, $8)
		ON CONFLICT (hash) DO UPDATE SET last_used = excluded.last_used`,
		s.Hash[:], s.Token, s.Who, provisioning.Millis(s.Began), provisioning.Millis(s.LastUsed), string(s.Role), int64(s.Farmer), bit(s.ReadOnly))
}

// DeleteSession implements [provisioning.Tx].
func (t Tx) DeleteSession(ctx context.Context, h provisioning.SecretsHash) error {
	return t.exec(ctx, `DELETE FROM sessions WHERE hash = $1`, h[:])
}

// PruneSessions implements [provisioning.Tx].
func (t Tx) PruneSessions(ctx context.Context, p provisioning.SessionPrune) error {
	err := t.exec(ctx, `DELETE FROM sessions WHERE last_used < $1 OR began < $2`, provisioning.Millis(p.UsedBefore), provisioning.Millis(p.BeganBefore))
	if err != nil {
		return err
	}
	return t.exec(ctx, `DELETE FROM sessions WHERE coalesce(token, '') = $1 AND who = $2 AND hash NOT IN (
			SELECT hash FROM sessions WHERE coalesce(token, '') = $1 AND who = $2 ORDER BY last_used DESC, began DESC, hash LIMIT $3)`, p.Token, p.Who, p.Kept)
}

func scanChange(c *provisioning.Change) []any {
	return []any{&c.ID, millis{&c.At}, &c.Actor, &c.From, &c.Action, &c.Subject, &c.Batch, &c.Undoes, document{&c.Before}, document{&c.After}}
}

// Changes implements [provisioning.Reader].
func (r Reader) Changes(ctx context.Context, q provisioning.ChangeQuery) ([]provisioning.Change, error) {
	var w where
	if q.ID != 0 {
		w.and("id = ?", q.ID)
	}
	if q.Batch != "" {
		w.and("batch = ?", q.Batch)
	}
	if q.Subject != "" {
		w.and("subject = ?", q.Subject)
	}
	if q.After != 0 {
		w.and("id > ?", q.After)
	}
	if q.Undoing {
		w.and("undoes <> 0")
	}
	query := `SELECT id, at, actor, origin, action, subject, batch, undoes, before, after FROM changes` + w.String() + ` ORDER BY id DESC` + w.limit(q.Limit)
	return all(ctx, r, scanChange, query, w.args...)
}

// AddChange implements [provisioning.Tx].
func (t Tx) AddChange(ctx context.Context, c provisioning.Change) error {
	t.decided()
	return t.exec(ctx, `INSERT INTO changes (at, actor, origin, action, subject, batch, undoes, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		provisioning.Millis(c.At), c.Actor, c.From, c.Action, c.Subject, c.Batch, c.Undoes, string(c.Before), string(c.After))
}

// document reads a JSON document; the empty text is none.
type document struct {
	d interface{ UnmarshalJSON([]byte) error }
}

// Scan reads the text.
func (d document) Scan(src any) error {
	s, ok := src.(string)
	if b, isBytes := src.([]byte); isBytes {
		s, ok = string(b), true
	}
	if !ok {
		return fmt.Errorf("scan JSON document from %T", src)
	}
	if s == "" {
		return nil
	}
	return d.d.UnmarshalJSON([]byte(s))
}
