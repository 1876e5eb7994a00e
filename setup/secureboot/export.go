package secureboot

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/foxboron/go-uefi/efi/signature"
	"github.com/foxboron/go-uefi/efi/util"
	"github.com/foxboron/go-uefi/efivar"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup/ca"
)

// ourGUID is the owner that our entries in firmware's lists name (UEFI 2.10, 32.4.1,
// SignatureOwner): a random one, so that they can be told from others'.
var ourGUID = util.EFIGUID{Data1: 0x8f2b1c5d, Data2: 0x3a64, Data3: 0x4f0e, Data4: [8]uint8{0x9d, 0x17, 0x52, 0xe8, 0xb3, 0x60, 0xc4, 0x1a}}

// microsoftGUID is the owner of Microsoft's entries in every firmware.
var microsoftGUID = util.EFIGUID{Data1: 0x77fa9abd, Data2: 0x0359, Data3: 0x4d32, Data4: [8]uint8{0xbd, 0x60, 0x28, 0xf4, 0xe7, 0x8f, 0x78, 0x4b}}

// Export writes our certificates into a folder, in the forms that firmware set-ups,
// Redfish and enrolment programs take, with a README that says what is for what. others
// are certificates that db is to go on trusting. A file that is there is replaced; the
// folder is made if need be.
func Export(dir string, keys []ca.SigningKey, others []*x509.Certificate) error {
	files, err := exported(keys, others)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.data, 0o644); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	return nil
}

type exportedFile struct {
	name string
	data []byte
}

func exported(keys []ca.SigningKey, others []*x509.Certificate) ([]exportedFile, error) {
	variables, own, err := enrolment(keys, others)
	if err != nil {
		return nil, err
	}
	files := []exportedFile{
		{filenames.Certificate, keys[0].Cert.Raw},
		{"farmboot.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys[0].Cert.Raw})},
		{"farmboot.esl", own},
	}
	for i, k := range keys[1:] {
		files = append(files, exportedFile{fmt.Sprintf("FORMER%d.CER", i+1), k.Cert.Raw})
	}
	for _, v := range variables {
		files = append(files, exportedFile{v.name + ".esl", v.list}, exportedFile{v.name + ".auth", v.update})
	}
	return append(files, exportedFile{"README.txt", readme(keys, others)}), nil
}

// Updates returns what firmware in Setup Mode takes to trust our keys, by file name:
// db.auth, which goes on trusting others too, KEK.auth and PK.auth. It is refused where
// there are no others: cards whose programs Microsoft has signed would stop working.
func Updates(keys []ca.SigningKey, others []*x509.Certificate) (map[string][]byte, error) {
	if len(others) == 0 {
		return nil, provisioning.Errorf(provisioning.Unavailable, "none of Microsoft's certificates is known here: graphics and network cards need them in db")
	}
	variables, _, err := enrolment(keys, others)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, v := range variables {
		files[v.name+".auth"] = v.update
	}
	return files, nil
}

// variable is one of firmware's, as it is to be.
type variable struct {
	name   string
	list   []byte // what it holds, an EFI signature list
	update []byte // the same, signed by us (UEFI 2.10, 8.2.2)
}

// enrolment returns the variables that make firmware trust our keys, and the list of those
// alone.
func enrolment(keys []ca.SigningKey, others []*x509.Certificate) (variables []variable, ours []byte, err error) {
	own := signature.NewSignatureDatabase()
	for _, k := range keys {
		if err := own.Append(signature.CERT_X509_GUID, ourGUID, k.Cert.Raw); err != nil {
			return nil, nil, fmt.Errorf("export our certificate: %w", err)
		}
	}
	db := signature.NewSignatureDatabase()
	db.AppendDatabase(own)
	for _, c := range others {
		if err := db.Append(signature.CERT_X509_GUID, microsoftGUID, c.Raw); err != nil {
			return nil, nil, fmt.Errorf("export %s: %w", c.Subject, err)
		}
	}
	pk := signature.NewSignatureDatabase() // holds one certificate (UEFI 2.10, 32.3.1)
	if err := pk.Append(signature.CERT_X509_GUID, ourGUID, keys[0].Cert.Raw); err != nil {
		return nil, nil, fmt.Errorf("export our certificate: %w", err)
	}
	for _, v := range []struct {
		name     string
		variable efivar.Efivar
		list     *signature.SignatureDatabase
	}{{"PK", efivar.PK, pk}, {"KEK", efivar.KEK, own}, {"db", efivar.Db, db}} {
		_, update, err := signature.SignEFIVariable(v.variable, v.list, keys[0].Private, keys[0].Cert)
		if err != nil {
			return nil, nil, fmt.Errorf("sign %s: %w", v.name, err)
		}
		var auth bytes.Buffer
		update.Marshal(&auth)
		variables = append(variables, variable{v.name, v.list.Bytes(), auth.Bytes()})
	}
	return variables, own.Bytes(), nil
}

// readme says what each file is for.
func readme(keys []ca.SigningKey, others []*x509.Certificate) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `Certificates of a Farmboot appliance for Secure Boot

  %s
  SHA-256 %s
  since %s

A machine boots from the appliance with Secure Boot on once it trusts this certificate.
Any one of these ways will do.

1. MokManager, on the machine, beside Microsoft's keys (nothing else changes):
   FARMBOOT.CER. Put it on a FAT stick, or boot one of the appliance's sticks, which
   has it, or run: farmboot secureboot enrol MAC.

2. The firmware's set-up, or Redfish, added to what db holds:
   FARMBOOT.CER   one certificate, DER (farmboot.pem: the same as PEM)
   farmboot.esl   the same as an EFI signature list
   In the set-up: Secure Boot, Key Management, Authorized Signatures (db), Append.
   Over Redfish: POST the text of farmboot.pem to
   /redfish/v1/Systems/ID/SecureBoot/SecureBootDatabases/db/Certificates
   as {"CertificateString": "…", "CertificateType": "PEM"}.

3. Machines in Setup Mode (all keys cleared), which take new keys unasked:
   db.auth, KEK.auth and PK.auth, in this order. For systemd-boot: copy them to
   loader/keys/auto/ on the EFI system partition, and boot with
   "secure-boot-enroll force" in loader/loader.conf.
   Afterwards only the owner of this appliance's key can change the lists.
`, keys[0].Cert.Subject.CommonName, ca.Colons(keys[0].Fingerprint()), keys[0].Since().Format("2006-01-02 15:04 UTC"))
	if len(others) > 0 {
		b.WriteString("\ndb.esl and db.auth hold these certificates too, so that the cards' own programs, Windows\nand other systems go on working:\n\n")
		for _, c := range others {
			fmt.Fprintf(&b, "  %s\n", c.Subject.CommonName)
		}
	} else {
		b.WriteString("\ndb.esl and db.auth hold none of Microsoft's certificates, for none was found here: a machine\nwhose graphics or network card has a program of its own may not start with them. Do not\nuse way 3 on such a machine.\n")
	}
	if len(keys) > 1 {
		fmt.Fprintf(&b, "\nThe key was replaced, and the former one still signs too (FORMER1.CER):\n\n  SHA-256 %s\n", ca.Colons(keys[1].Fingerprint()))
	}
	return []byte(b.String())
}

// authorities are whose certificates other systems' boot programs, and programs on
// cards, need in db.
var authorities = []string{
	"Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023", "Microsoft Option ROM UEFI CA 2023",
	"Microsoft Windows Production PCA 2011", "Windows UEFI CA 2023",
}

// HostDB is where Linux shows the firmware's own list of trusted certificates, behind
// four bytes of attributes (efivarfs).
const HostDB = "/sys/firmware/efi/efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"

// Authorities finds Microsoft's certificates: in the signatures of a shim, which every
// firmware must be able to check (empty: there is no shim), and in the list of this host's firmware, if it has one
// (see [HostDB]).
func Authorities(shim []byte, hostDB string) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	if len(shim) > 0 {
		p, err := authenticode.Parse(bytes.NewReader(shim), int64(len(shim)))
		if err != nil {
			return nil, fmt.Errorf("read shim's signatures: %w", err)
		}
		found = p.Certificates()
	}
	list, err := os.ReadFile(hostDB)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("read this host's list of trusted certificates: %w", err)
	}
	if len(list) > 4 {
		more, err := certificatesOf(list[4:])
		if err != nil {
			return nil, provisioning.Errorf(provisioning.Invalid, "this host's list of trusted certificates, %s: %w", hostDB, err)
		}
		found = append(found, more...)
	}
	var all []*x509.Certificate
	for _, c := range found {
		if slices.Contains(authorities, c.Subject.CommonName) && !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *x509.Certificate) int {
		return slices.Index(authorities, a.Subject.CommonName) - slices.Index(authorities, b.Subject.CommonName)
	})
	return all, nil
}

// certificatesOf returns the certificates of an EFI signature list.
func certificatesOf(list []byte) ([]*x509.Certificate, error) {
	database, err := signature.ReadSignatureDatabase(bytes.NewReader(list))
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, l := range database {
		if l.SignatureType != signature.CERT_X509_GUID {
			continue
		}
		for _, s := range l.Signatures {
			if c, err := x509.ParseCertificate(s.Data); err == nil {
				all = append(all, c)
			}
		}
	}
	return all, nil
}
