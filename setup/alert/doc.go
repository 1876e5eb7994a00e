// Package alert tells people what needs one of them: a node that does not boot, a
// certificate that ends, a kernel that was taken back.
//
// [Digest] decides, as a pure function of time, what is said when: new troubles are
// gathered for a minute, so that a farm that goes dark is one message and not a
// thousand; what has been said is not said again; and when all of it is mended one "all
// well" follows. What merely happened is a [Notice], told once and gathered likewise.
// [Teller] asks its sources, and sends. Where to is written as URLs:
// those of shoutrrr (https://shoutrrr.nickfedor.com: e-mail, Telegram, ntfy and some
// twenty others), and webhook+http:// and webhook+https:// for programs.
package alert
