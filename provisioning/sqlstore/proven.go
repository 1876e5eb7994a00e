package sqlstore

import (
	"context"

	"farmboot/provisioning"
)

// provenKept is how many strategies are kept.
const provenKept = 100_000

// Proven implements [provisioning.Reader].
func (r Reader) Proven(ctx context.Context, mac provisioning.MAC) (provisioning.Proven, error) {
	p := provisioning.Proven{MAC: mac}
	err := r.one(ctx, []any{&p.Client, &p.Strategy.NBP, &p.Strategy.Form, millis{&p.Since}},
		`SELECT client, nbp, form, since FROM proven WHERE mac = $1`, mac[:],
		"nothing has booted %s yet", mac)
	return p, err
}

// PutProven implements [provisioning.Tx].
func (t Tx) PutProven(ctx context.Context, p provisioning.Proven) error {
	err := t.exec(ctx, `INSERT INTO proven (mac, client, nbp, form, since) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mac) DO UPDATE SET client = excluded.client, nbp = excluded.nbp, form = excluded.form, since = excluded.since`,
		p.MAC[:], p.Client, string(p.Strategy.NBP), string(p.Strategy.Form), provisioning.Millis(p.Since))
	if err != nil {
		return err
	}
	return t.exec(ctx, `DELETE FROM proven WHERE mac IN (SELECT mac FROM proven ORDER BY since DESC, mac LIMIT 100 OFFSET $1)`, provenKept)
}
