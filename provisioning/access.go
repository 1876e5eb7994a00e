package provisioning

import (
	"crypto/sha256"
	"crypto/subtle"
	"time"
)

// Role says what an actor may do.
type Role string

// The roles.
const (
	RoleAdmin  Role = "admin"  // everything
	RoleFarmer Role = "farmer" // reads and edits the nodes of one farmer
)

// Actor is a person or program that asks for something: what is allowed depends on it, and
// the history names it.
type Actor struct {
	Name     string // a token's id, or who runs the command: "root"
	Role     Role
	Farmer   FarmerID // whose nodes, when Role is RoleFarmer
	ReadOnly bool     // may change nothing
	From     string   // from where: "cli", "socket", or the address of an API client
}

// Token is a credential for the API. Its secret is shown once, when the token is
// made, and kept only as Hash.
type Token struct {
	ID       string      `json:"id"`
	Role     Role        `json:"role"`
	Farmer   FarmerID    `json:"farmer,omitempty"`    // when Role is RoleFarmer
	Name     string      `json:"name,omitempty"`      // for people
	Expires  time.Time   `json:"expires,omitzero"`    // zero: never
	ReadOnly bool        `json:"read_only,omitempty"` // it changes nothing
	Created  time.Time   `json:"created"`
	LastUsed time.Time   `json:"last_used,omitzero"` // to the minute; zero: never
	Hash     SecretsHash `json:"-"`
}

// Expired tells whether a token has come to its end.
func (t Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// SecretsHash is the SHA-256 of a token's secret or a session's cookie. A plain
// hash is enough here, and a slow password hash would only slow every request: the
// secret is 256 bits from a random generator, so there is nothing to guess that is
// likelier than anything else.
type SecretsHash [sha256.Size]byte

// Session is a sign-in to the pages. It is kept under the hash of its cookie, so neither the database nor a backup of it is a way in.
type Session struct {
	Hash     SecretsHash
	Token    string // id of the token that it began with, and ends with; "": none
	Who      string // the actor's name
	Began    time.Time
	LastUsed time.Time // to the minute

	// What a person may do who signed in through an OpenID provider. Role is empty where the
	// token says it, and with a sign-in link, which is an admin's.
	Role     Role
	Farmer   FarmerID
	ReadOnly bool
}

// Matches tells, in constant time, whether h is the hash of secret.
func (h SecretsHash) Matches(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(h[:], sum[:]) == 1
}
