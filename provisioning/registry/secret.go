package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"farmboot/provisioning"
)

// secretPrefix starts every secret, so that people and secret scanners know one
// when they see it.
const secretPrefix = "farmboot_"

// newSecret makes a token's id and its secret, farmboot_<id>_<43 characters>.
// The id in it finds the token's row; the rest proves that it is his.
func newSecret() (id, secret string, hash provisioning.SecretsHash) {
	id = rand.Text()[:10]
	random := make([]byte, 32)
	rand.Read(random) // never fails: see crypto/rand
	secret = secretPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(random)
	return id, secret, sha256.Sum256([]byte(secret))
}

// secretID returns the token id that a secret carries, "" if it carries none.
func secretID(secret string) string {
	rest, ok := strings.CutPrefix(secret, secretPrefix)
	if !ok {
		return ""
	}
	id, _, ok := strings.Cut(rest, "_")
	if !ok {
		return ""
	}
	return id
}
