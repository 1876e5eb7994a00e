package registry

import (
	"encoding/json"

	"farmboot/provisioning"
)

// changesOf returns those of a node's changes, newest first, that concern the farmer
// whose it is: back to the one by which it became his, without what it was before that.
func changesOf(his provisioning.FarmerID, changes []provisioning.Change) []provisioning.Change {
	for i, c := range changes {
		var before provisioning.Node
		if json.Unmarshal(c.Before, &before) == nil && before.Farmer == his {
			continue
		}
		changes[i].Before = nil
		return changes[:i+1]
	}
	return changes
}
