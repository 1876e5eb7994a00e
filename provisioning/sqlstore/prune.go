package sqlstore

import (
	"context"

	"farmboot/provisioning"
)

// pruneStep is how many rows one Prune deletes at most of each table, so that
// nobody waits long for the write lock.
const pruneStep = 1000

// crowded are the boots of nodes that have more than so many, but for the last of them.
const crowded = `SELECT boots.id FROM (
		SELECT mac, (SELECT id FROM boots WHERE mac = many.mac ORDER BY id DESC LIMIT 1 OFFSET $1) AS first
		FROM (SELECT mac FROM boots WHERE length(mac) > 0 GROUP BY mac HAVING count(*) > $1) AS many
	) AS ends JOIN boots ON boots.mac = ends.mac AND boots.id <= ends.first`

// Prune implements [provisioning.Tx]. Boots and changes are numbered in the order in
// which they began or came, so the oldest are found from the low end of their keys. What
// each node has too many of takes a look at all of them, 20 ms of a million events: it comes
// last, when there is nothing else to delete.
func (t Tx) Prune(ctx context.Context, p provisioning.Prune) (bool, error) {
	for _, step := range []struct {
		kept  int
		query string
		args  []any
	}{
		{p.EventsKept, `DELETE FROM boots WHERE id IN (SELECT id FROM boots ORDER BY id LIMIT $1) AND last <= (SELECT last FROM event_ids) - $2`, []any{pruneStep, p.EventsKept}},
		{p.ChangesKept, `DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT $1) AND id <= (SELECT max(id) FROM changes) - $2 AND id NOT IN (SELECT max(id) FROM changes WHERE subject LIKE '` + provisioning.CanarySubject + `%' GROUP BY subject)`, []any{pruneStep, p.ChangesKept}},
		{p.SeenKept, `DELETE FROM seen WHERE mac IN (SELECT mac FROM seen WHERE ` + unregistered + ` ORDER BY last_seen DESC, mac LIMIT $1 OFFSET $2)`, []any{pruneStep, p.SeenKept}},
		{p.BootsKept, `DELETE FROM boots WHERE id IN (` + crowded + ` LIMIT $2)`, []any{p.BootsKept, pruneStep}},
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
		if n >= pruneStep/2 { // of the oldest boots some may go on yet
			return true, nil
		}
	}
	return false, nil
}
