package dhcp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// askTimeout is how long a DHCP server may take for an offer: dnsmasq first pings the
// address for 3 s.
const askTimeout = 5 * time.Second

// Ask asks the DHCP servers on an interface for an offer, by a DISCOVER that no
// REQUEST follows, and returns the address that the first of them would give out.
// No address is taken by that.
func Ask(ctx context.Context, device string) (offered netip.Addr, err error) {
	client, err := nclient4.New(device, nclient4.WithTimeout(askTimeout/2), nclient4.WithRetry(2))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask for an offer on %s: %w", device, err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	offer, err := client.DiscoverOffer(ctx)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask for an offer on %s: %w", device, err)
	}
	if offered, ok := address(offer.YourIPAddr); ok {
		return offered, nil
	}
	return netip.Addr{}, fmt.Errorf("ask for an offer on %s: it has no address", device)
}
