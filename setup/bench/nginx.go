package main

import (
	"context"
	"fmt"
	"time"
)

// nginxConfig is Debian's, as far as it matters to static files. %[1]s is the
// folder, %[2]s the certificate and key of our appliance.
const nginxConfig = `
user root;
worker_processes auto;
pid %[1]s/pid;
error_log %[1]s/error.log;
daemon off;
events { worker_connections 4096; }
http {
	sendfile on;
	tcp_nopush on;
	types_hash_max_size 2048;
	default_type application/octet-stream;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_prefer_server_ciphers on;
	access_log %[1]s/access.log;
	gzip on;
	keepalive_requests 1000000;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 80 backlog=4096;
		listen 443 ssl backlog=4096;
		ssl_certificate %[2]s;
		ssl_certificate_key %[2]s;
		root %[1]s/root;
	}
}
`

// nginx starts nginx with the files under its root, and returns its process id and
// how long it took to answer: its port is open before it heeds signals. Its master process leaves when told by signal.
func (s *site) nginx(ctx context.Context) (pid int, took time.Duration, err error) {
	config, err := s.write(fmt.Sprintf(nginxConfig, s.path("nginx"), s.path("ours", "ca", "server.pem")), "nginx", "nginx.conf")
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	p, err := s.start(s.other, "nginx.log", "nginx", "-p", s.path("nginx"), "-c", config)
	if err != nil {
		return 0, 0, err
	}
	err = poll(ctx, p, func() bool {
		conn, err := s.dial(s.other, 80)
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second)) // then poll tries again
		_, err = conn.Write([]byte("HEAD / HTTP/1.0\r\n\r\n"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		return err == nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("start nginx: %w: %s", err, tail(s.path("nginx.log.err")))
	}
	return p.PID(), time.Since(begin), nil
}
