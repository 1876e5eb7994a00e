package sqlstore

import (
	"context"

	"farmboot/provisioning"
)

// pruneStep is how many rows one Prune deletes at most of each table, so that
// nobody waits long for the write lock.
const pruneStep = 1000

// crowded are the boots of nodes that have more than so many, but for the last of them.
const crowded = `SELECT id FROM boots AS b WHERE mac IN (SELECT mac FROM boots WHERE length(mac) > 0 GROUP BY mac HAVING count(*) > $1)
	AND id <= (SELECT id FROM boots WHERE mac = b.mac ORDER BY id DESC LIMIT 1 OFFSET $1)`

// Prune implements [provisioning.Tx]. Boots and changes are numbered in the order in
// which they began or came, so the oldest are found from the low end of their keys.
func (t Tx) Prune(ctx context.Context, p provisioning.Prune) (bool, error) {
	more := false
	for _, step := range []struct {
		kept  int
		query string
		args  []any
	}{
		{p.EventsKept, `DELETE FROM boots WHERE id IN (SELECT id FROM boots ORDER BY id LIMIT $1) AND last <= (SELECT last FROM event_ids) - $2`, []any{pruneStep, p.EventsKept}},
		{p.BootsKept, `DELETE FROM boots WHERE id IN (` + crowded + ` ORDER BY id LIMIT $2)`, []any{p.BootsKept, pruneStep}},
		{p.ChangesKept, `DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT $1) AND id <= (SELECT max(id) FROM changes) - $2 AND id NOT IN (SELECT max(id) FROM changes WHERE subject LIKE '` + provisioning.CanarySubject + `%' GROUP BY subject)`, []any{pruneStep, p.ChangesKept}},
		{p.SeenKept, `DELETE FROM seen WHERE mac IN (SELECT mac FROM seen WHERE ` + unregistered + ` ORDER BY last_seen DESC, mac LIMIT $1 OFFSET $2)`, []any{pruneStep, p.SeenKept}},
	} {
		if step.kept == 0 {
			continue
		}
		result, err := t.Q.ExecContext(ctx, step.query, step.args...)
		if err != nil {
			return false, t.Explain(err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return false, t.Explain(err)
		}
		more = more || n >= pruneStep/2 // of the oldest boots some may go on yet
	}
	return more, nil
}
