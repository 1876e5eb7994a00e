package lab

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// flash is one with an empty store of variables.
func flash() variables {
	v := variables(bytes.Repeat([]byte{0xff}, 4096))
	copy(v[40:], "_FVH")
	binary.LittleEndian.PutUint16(v[storeHeaderAt:], 72)
	return v
}

func TestTrust(t *testing.T) {
	v := flash()
	for _, certificate := range []string{"the first", "another"} {
		if err := v.trust("MokList", shimGUID, []byte(certificate)); err != nil {
			t.Fatal(err)
		}
		if err := v.trust("db", dbGUID, []byte(certificate)); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []struct {
		name   string
		vendor guid
	}{{"MokList", shimGUID}, {"db", dbGUID}} {
		found, _, err := v.find(list.name, list.vendor)
		if err != nil || found == nil {
			t.Fatalf("%s is not there: %v", list.name, err)
		}
		data := v[found.data : found.data+int(found.DataSize)]
		if len(data) != 2*(28+16)+len("the firstanother") || !bytes.Contains(data, []byte("the first")) || !bytes.HasSuffix(data, []byte("another")) {
			t.Errorf("%s holds %q", list.name, data)
		}
	}
	if found, _, err := v.find("db", shimGUID); found != nil || err != nil {
		t.Errorf("a variable of another vendor was found: %v", err)
	}
	if err := v.trust("MokList", shimGUID, make([]byte, 4096)); err == nil {
		t.Error("more fits than there is room for")
	}
	if err := variables("no flash").trust("MokList", shimGUID, nil); err == nil {
		t.Error("a text was taken for a flash")
	}
}

func TestSwitchOff(t *testing.T) {
	v := flash()
	if err := v.switchOff(); err == nil {
		t.Error("a flash without the variable was switched off")
	}
	_, free, err := v.find("SecureBootEnable", enableGUID)
	if err == nil {
		err = v.put("SecureBootEnable", free, variableHeader{Attributes: nonVolatile | bootService, Vendor: enableGUID}, []byte{1})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := v.switchOff(); err != nil {
		t.Fatal(err)
	}
	if found, _, err := v.find("SecureBootEnable", enableGUID); err != nil || found == nil || v[found.data] != 0 {
		t.Errorf("Secure Boot is still on: %v, %v", found, err)
	}
}
