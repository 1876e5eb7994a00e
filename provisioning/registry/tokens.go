package registry

import (
	"context"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// errToken is the one refusal of a token that is not valid, whatever the reason.
func errToken() error {
	return provisioning.Errorf(provisioning.Unauthorized, "no valid token: send the header Authorization: Bearer <token>; an admin makes one with farmboot token add")
}

// Tokens lists the tokens, oldest first.
func (r *Registry) Tokens(ctx context.Context, by provisioning.Actor) ([]provisioning.Token, error) {
	if err := rights.Admin(by, "list tokens"); err != nil {
		return nil, err
	}
	return r.store.Tokens(ctx)
}

// AddToken makes a token as like says: its role, farmer, name, end, and whether it is
// read-only. It returns it with the secret, which is never shown again. A token for a farmer
// registers him, if he is not.
func (r *Registry) AddToken(ctx context.Context, by provisioning.Actor, like provisioning.Token) (provisioning.Token, string, error) {
	if err := rights.Admin(by, "make tokens"); err != nil {
		return provisioning.Token{}, "", err
	}
	if err := r.checkToken(like); err != nil {
		return provisioning.Token{}, "", err
	}
	id, secret, hash := newSecret()
	// Stores keep milliseconds of UTC: what is returned is what lists will show.
	t := like
	t.ID, t.Created, t.Expires, t.LastUsed, t.Hash = id, stored(r.now()), stored(like.Expires), time.Time{}, hash
	err := r.store.Update(ctx, func(tx provisioning.Tx) error {
		if t.Farmer != 0 {
			if _, err := r.ensureFarmer(ctx, tx, by, t.Farmer); err != nil {
				return err
			}
		}
		if err := tx.PutToken(ctx, t); err != nil {
			return err
		}
		return r.changed(ctx, tx, by, "token add", t.ID, nil, t)
	})
	if err != nil {
		return provisioning.Token{}, "", err
	}
	return t, secret, nil
}

// stored is a time as stores keep it.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

// LongestToken is for how long a token may be given that has an end: a hundred years and a day,
// short of what a [time.Duration] holds.
const LongestToken = (36525 + 1) * 24 * time.Hour

// checkToken refuses a token that cannot be made so.
func (r *Registry) checkToken(t provisioning.Token) error {
	switch {
	case t.Role != provisioning.RoleAdmin && t.Role != provisioning.RoleFarmer:
		return provisioning.Errorf(provisioning.Invalid, "unknown role %q: accepted are %s and %s", provisioning.Clip(string(t.Role), 40), provisioning.RoleAdmin, provisioning.RoleFarmer)
	case t.Role == provisioning.RoleFarmer && t.Farmer == 0:
		return provisioning.Errorf(provisioning.Invalid, "a token with role %s needs the farmer's id", provisioning.RoleFarmer)
	case t.Role == provisioning.RoleAdmin && t.Farmer != 0:
		return provisioning.Errorf(provisioning.Invalid, "a token with role %s is not one farmer's: leave out the farmer, or choose role %s", provisioning.RoleAdmin, provisioning.RoleFarmer)
	case t.Expires.After(r.now().Add(LongestToken)):
		return provisioning.Errorf(provisioning.Invalid, "a token that expires in the year %d is given for too long: accepted are at most a hundred years; without an end it does not expire", t.Expires.UTC().Year())
	case !t.Expires.IsZero() && !t.Expires.After(r.now()):
		return provisioning.Errorf(provisioning.Invalid, "a token that expires at %s would have expired already: accepted is a time to come", t.Expires.UTC().Format(time.RFC3339))
	}
	return checkName(t.Name)
}

// RemoveToken revokes a token, at once.
func (r *Registry) RemoveToken(ctx context.Context, by provisioning.Actor, id string) error {
	if err := rights.Admin(by, "revoke tokens"); err != nil {
		return err
	}
	return r.store.Update(ctx, func(tx provisioning.Tx) error {
		t, err := tx.Token(ctx, id)
		if err != nil {
			return err
		}
		return r.removeToken(ctx, tx, by, t)
	})
}

func (r *Registry) removeToken(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, t provisioning.Token) error {
	if err := tx.DeleteToken(ctx, t.ID); err != nil {
		return err
	}
	return r.changed(ctx, tx, by, "token rm", t.ID, t, nil)
}

// usedEvery is how exactly a token's last use is known: a write for every request
// would be a disk access for every request.
const usedEvery = time.Minute

// Authenticate returns the actor whose secret that is; from is the address it came from. A
// wrong secret is [provisioning.Unauthorized]. A store that cannot be written does not keep
// anybody out.
func (r *Registry) Authenticate(ctx context.Context, secret, from string) (provisioning.Actor, error) {
	t, err := r.tokenOf(ctx, secret)
	if err != nil {
		return provisioning.Actor{}, err
	}
	r.usedToken(ctx, t)
	return actorOf(t, from), nil
}

// tokenOf returns the token with that secret.
func (r *Registry) tokenOf(ctx context.Context, secret string) (provisioning.Token, error) {
	t, err := r.store.Token(ctx, secretID(secret))
	if err != nil && provisioning.ErrorCode(err) != provisioning.NotFound {
		return provisioning.Token{}, err
	}
	// Without a token this compares with the hash of nothing, which nothing has.
	if !t.Hash.Matches(secret) || err != nil {
		return provisioning.Token{}, errToken()
	}
	if t.Expired(r.now()) {
		return provisioning.Token{}, provisioning.Errorf(provisioning.Unauthorized, "this token expired on %s: ask an admin for another", t.Expires.Format(time.DateOnly))
	}
	return t, nil
}

// usedToken notes that a token is in use, as far as the store can be written.
func (r *Registry) usedToken(ctx context.Context, t provisioning.Token) {
	if now := r.now(); now.Sub(t.LastUsed) >= usedEvery {
		r.note(ctx, func(ctx context.Context, tx provisioning.Tx) error {
			current, err := tx.Token(ctx, t.ID) // it may just have been revoked
			if err != nil {
				return err
			}
			current.LastUsed = now
			return tx.PutToken(ctx, current)
		})
	}
}

// noteLimit is how long a request waits for it to be noted that it was made.
const noteLimit = 100 * time.Millisecond

// note stores that something is in use. Nobody waits long for that, and only one at a
// time: while the store is busy, others go on without, and the next use is noted.
func (r *Registry) note(ctx context.Context, fn func(context.Context, provisioning.Tx) error) {
	if r.noting.TryLock() {
		defer r.noting.Unlock()
		_ = provisioning.UpdateWithin(ctx, r.store, noteLimit, fn)
	}
}

// actorOf is who has the token.
func actorOf(t provisioning.Token, from string) provisioning.Actor {
	name := "token " + t.ID
	if t.Name != "" {
		name += " (" + t.Name + ")"
	}
	return provisioning.Actor{Name: name, Role: t.Role, Farmer: t.Farmer, ReadOnly: t.ReadOnly, From: from}
}
