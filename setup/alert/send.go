package alert

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr"
	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// sender sends messages to one place. Its errors do not show the URL, in which there
// are passwords.
type sender func(context.Context, Message) error

// Check tells what is wrong with a URL of [alerts] urls.
func Check(text string) error {
	_, err := newSender(text)
	return err
}

// newSender reads a URL.
func newSender(text string) (sender, error) {
	scheme, _, ok := strings.Cut(text, ":")
	if !ok {
		return nil, errors.New("not a URL: " + acceptedURLs)
	}
	if transport, ok := strings.CutPrefix(scheme, "webhook+"); ok {
		return newWebhook(transport, strings.TrimPrefix(text, "webhook+"))
	}
	sender, err := shoutrrr.CreateSender(text)
	switch {
	case errors.Is(err, router.ErrUnknownService):
		return nil, fmt.Errorf("nothing is sent by %s://: %s", scheme, acceptedURLs)
	case errors.Is(err, router.ErrParseURLFailed):
		return nil, fmt.Errorf("%s: this cannot be read as a URL: characters such as / @ : # and %% in a name or password are written as %%2F and so on", scheme)
	case err != nil: // the library says no more
		return nil, fmt.Errorf("%s: something is missing behind %[1]s://, or too much: accepted is %s", scheme, cmp.Or(forms[scheme], "what shoutrrr's manual says of "+scheme))
	}
	return func(ctx context.Context, m Message) error {
		params := types.Params{"title": m.Title()}
		sent := make(chan error, 1)
		go func() { sent <- errors.Join(sender.Send(m.Text(), &params)...) }()
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("%s: %s", scheme, hide(err, text))
			}
			return nil
		case <-ctx.Done(): // the library knows no contexts: what it does ends by its own time-outs
			return ctx.Err()
		}
	}, nil
}

const acceptedURLs = "accepted are those of shoutrrr (ntfy://…, telegram://…, smtp://…), webhook+http:// and webhook+https://"

// forms are what the URLs of services look like, those that are asked for most.
var forms = map[string]string{
	"ntfy":     "ntfy://[USER:PASSWORD@]HOST/TOPIC",
	"telegram": "telegram://TOKEN@telegram?chats=CHAT, with a token as 110201543:AAH…",
	"smtp":     "smtp://USER:PASSWORD@HOST:PORT/?from=ADDRESS&to=ADDRESS",
	"discord":  "discord://TOKEN@WEBHOOK-ID",
	"slack":    "slack://hook:TOKEN@webhook, with a token of three parts",
	"gotify":   "gotify://HOST/TOKEN",
	"pushover": "pushover://shoutrrr:TOKEN@USER/",
}

// hide takes out of an error's text what a URL keeps secret: all of it but its scheme
// and host.
func hide(err error, secret string) string {
	text := err.Error()
	text = strings.ReplaceAll(text, secret, "…")
	u, e := url.Parse(secret)
	if e != nil {
		return "it cannot be read"
	}
	password, _ := u.User.Password()
	for _, part := range []string{u.User.Username(), password, strings.Trim(u.Path, "/"), u.RawQuery} {
		if len(part) > 2 {
			text = strings.ReplaceAll(text, part, "…")
		}
	}
	return text
}

// SignatureHeader holds a webhook's signature: "t=UNIX SECONDS,v1=HEX", where HEX is the
// HMAC-SHA256 of "UNIX SECONDS.BODY" under the secret.
const SignatureHeader = "Farmboot-Signature"

// sendLimit bounds one attempt to send to a webhook.
const sendLimit = 30 * time.Second

// newWebhook posts messages as JSON. The parameter secret of its URL signs them and is
// not sent.
func newWebhook(transport, text string) (sender, error) {
	u, err := url.Parse(text)
	if err != nil || transport != "http" && transport != "https" || u.Host == "" {
		return nil, errors.New("webhook: accepted is webhook+https://HOST/PATH?secret=SECRET, or webhook+http://")
	}
	query := u.Query()
	secret := query.Get("secret")
	query.Del("secret")
	u.RawQuery = query.Encode()
	return func(ctx context.Context, m Message) error {
		body, err := json.Marshal(m)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, sendLimit)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		if secret != "" {
			request.Header.Set(SignatureHeader, sign(secret, m.At, body))
		}
		response, err := new(http.Transport).RoundTrip(request)
		if err != nil {
			return fmt.Errorf("webhook: %s", hide(err, text))
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
		if response.StatusCode >= 300 {
			return fmt.Errorf("webhook: %s says %s", u.Host, response.Status)
		}
		return nil
	}, nil
}

// sign makes the value of [SignatureHeader].
func sign(secret string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", t, body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
