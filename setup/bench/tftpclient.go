package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"farmboot/setup/lab"
)

// Operations of TFTP (RFC 1350 section 5, RFC 2347).
const (
	opRead  = 1
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// tftpOrder is what a boot ROM asks for.
type tftpOrder struct {
	file   string
	block  int           // bytes; 0: 512, without asking
	window int           // packets before an acknowledgement; 0: not asked
	delay  time.Duration // before each acknowledgement: the round trip of the wire
	again  time.Duration // of silence after which it says its last packet again; 0: a second
	tries  int           // how often it does so in a row; 0: 30 times
	drop   bool          // what arrives: only the last block is returned
}

// request is the first packet.
func (o tftpOrder) request() []byte {
	p := binary.BigEndian.AppendUint16(nil, opRead)
	words := []string{o.file, "octet", "tsize", "0"}
	if o.block > 0 {
		words = append(words, "blksize", strconv.Itoa(o.block))
	}
	if o.window > 0 {
		words = append(words, "windowsize", strconv.Itoa(o.window))
	}
	return append(p, strings.Join(words, "\x00")+"\x00"...)
}

// tftp fetches a file from a server, as one node.
func (s *site) tftp(from netip.Addr, to *lab.Host, o tftpOrder) (data []byte, err error) {
	var conn *net.UDPConn
	err = s.nodes.Do(func() error {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return o.receive(conn, netip.AddrPortFrom(to.Addr(), 69))
}

// receive sends the request and takes the answers of a server up to the last block.
func (o tftpOrder) receive(conn *net.UDPConn, peer netip.AddrPort) (data []byte, err error) {
	block, window := 512, 1
	buf := make([]byte, 1<<16)
	blocks, unacked, silent := 0, 0, 0 // received in order; since the last acknowledgement; in a row
	last := o.request()
	if _, err := conn.WriteToUDPAddrPort(last, peer); err != nil {
		return nil, err
	}
	for {
		if err := conn.SetReadDeadline(time.Now().Add(cmp.Or(o.again, time.Second))); err != nil {
			return nil, err
		}
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && silent < cmp.Or(o.tries, 30) {
			silent++
			if _, err := conn.WriteToUDPAddrPort(last, peer); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tftp: after %d blocks: %w", blocks, err)
		}
		peer, silent = from, 0
		switch p := buf[:n]; {
		case n < 4:
			return nil, errors.New("tftp: a packet of less than four bytes")
		case p[1] == opError:
			return nil, fmt.Errorf("tftp: %s", strings.TrimRight(string(p[4:]), "\x00"))
		case p[1] == opOAck:
			block, window = agreed(p[2:])
		case p[1] == opData && binary.BigEndian.Uint16(p[2:]) == uint16(blocks+1):
			blocks++
			unacked++
			if o.drop {
				data = data[:0]
			}
			data = append(data, p[4:]...)
			if n-4 == block && unacked < window {
				continue
			}
		}
		unacked = 0
		if o.delay > 0 {
			time.Sleep(o.delay)
		}
		last = binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(blocks))
		if _, err := conn.WriteToUDPAddrPort(last, peer); err != nil {
			return nil, err
		}
		if blocks > 0 && n-4 < block {
			return data, nil
		}
	}
}

// agreed reads what the server grants of the options.
func agreed(options []byte) (block, window int) {
	block, window = 512, 1
	words := strings.Split(string(options), "\x00")
	for i := 0; i+1 < len(words); i += 2 {
		n, _ := strconv.Atoi(words[i+1])
		switch strings.ToLower(words[i]) {
		case "blksize":
			block = n
		case "windowsize":
			window = n
		}
	}
	return block, window
}
