package main

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"farmboot/provisioning"
)

// plainValues reads numbers, times, MAC addresses and farmers on the command line, and says
// in plain words what is accepted, or that a flag has no value.
func plainValues() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.KindMapper(reflect.Int, wholeNumber(strconv.IntSize)).Apply(k),
			kong.KindMapper(reflect.Int64, wholeNumber(64)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[provisioning.MAC](), reads(provisioning.ParseMAC)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[provisioning.FarmerID](), reads(provisioning.ParseFarmerID)).Apply(k),
			kong.NamedMapper("owner", reads(provisioning.ParseOwner)).Apply(k),
			kong.NamedMapper("kernel", reads(kernelName)).Apply(k),
			kong.NamedMapper("kernel-or-none", reads(storedName)).Apply(k),
			kong.NamedMapper("most", reads(most)).Apply(k),
			kong.NamedMapper("given", reads(given)).Apply(k),
			kong.PostBuild(func(k *kong.Kong) error { return kong.Visit(k.Model.Node, wantValue) }).Apply(k))
	})
}

// wantValue makes a flag look for its value with [flagValue], and an argument that may be
// left out with [notEmpty]: either is empty where a shell's variable is not set, and must
// not mean then what leaving it out does. Those whose help says what empty means have the
// tag "empty".
func wantValue(node kong.Visitable, next kong.Next) error {
	switch v := node.(type) {
	case *kong.Flag:
		if !v.IsBool() {
			v.Mapper = flagValue{refuseEmpty(v.Value, "give one, or leave the flag out")}
		}
	case *kong.Value:
		if v.Flag == nil && !v.Required && !v.IsCumulative() {
			v.Mapper = refuseEmpty(v, "give one, or leave the argument out")
		}
	}
	return next(nil)
}

// refuseEmpty returns what reads a value that must not be empty, unless its tag says that
// it may be.
func refuseEmpty(v *kong.Value, instead string) kong.Mapper {
	if v.Tag.Has("empty") {
		return v.Mapper
	}
	if v.Required {
		instead = "give one"
	}
	return notEmpty{v.Mapper, instead}
}

// notEmpty reads a value that must not be blank.
type notEmpty struct {
	kong.Mapper
	instead string // what to do
}

// Decode refuses a blank value, and reads any other.
func (v notEmpty) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if token := ctx.Scan.Peek(); token.IsValue() && strings.TrimSpace(token.String()) == "" {
		return errors.New("its value is empty: " + v.instead)
	}
	return v.Mapper.Decode(ctx, target)
}

// flagValue reads the value of a flag.
type flagValue struct{ kong.Mapper }

// isNegative tells a number below 0, with its unit perhaps, from a flag: none of ours is a
// digit.
func isNegative(s string) bool {
	return len(s) > 1 && s[0] == '-' && s[1] >= '0' && s[1] <= '9'
}

// Decode reads the value, which no other flag is: "-3" is a number.
func (v flagValue) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	token := ctx.Scan.Peek()
	if !token.IsValue() && isNegative(token.String()) {
		ctx.Scan.Pop()
		ctx.Scan.PushTyped(token.Value, kong.FlagValueToken)
	} else if !token.IsValue() {
		return errors.New("a value is missing")
	}
	return v.Mapper.Decode(ctx, target)
}

// given reads an argument that must be given, and not be empty.
func given(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", errors.New("its value is empty: give one")
	}
	return text, nil
}

// reads makes a mapper of what reads a text.
func reads[T any](parse func(string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("value")
		if err != nil {
			return err
		}
		v, err := parse(token.String())
		reflect.Indirect(target).Set(reflect.ValueOf(v))
		return err
	})
}

// kernelName reads the name of a kernel that is stored.
func kernelName(text string) (string, error) {
	if _, err := given(text); err != nil {
		return "", err
	}
	return storedName(text)
}

// most reads how many of something are wanted at most; 0: all.
func most(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("bad number %q: accepted is a whole number, 0 for all", provisioning.Clip(text, 40))
	}
	return n, nil
}

// wholeNumber reads a decimal number of so many bits.
func wholeNumber(bits int) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("number")
		if err != nil {
			return err
		}
		text := token.String()
		n, err := strconv.ParseInt(text, 10, bits)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return fmt.Errorf("bad number %q: accepted is a whole number up to %d", provisioning.Clip(text, 40), int64(1)<<(bits-1)-1)
		case err != nil:
			return fmt.Errorf("bad number %q: accepted is a whole number", provisioning.Clip(text, 40))
		}
		target.SetInt(n)
		return nil
	}
}

// duration reads a time.
func duration(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("time")
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(token.String())
	if err != nil {
		return fmt.Errorf("bad time %q: accepted is a number with its unit, as 10s, 2m or 1h30m", provisioning.Clip(token.String(), 40))
	}
	target.SetInt(int64(d))
	return nil
}
