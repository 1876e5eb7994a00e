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

// plainValues reads numbers and times on the command line, and says in plain words what
// is accepted, or that a flag has no value.
func plainValues() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.KindMapper(reflect.Int, wholeNumber(strconv.IntSize)).Apply(k),
			kong.KindMapper(reflect.Int64, wholeNumber(64)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)).Apply(k),
			kong.NamedMapper("given", kong.MapperFunc(given)).Apply(k),
			kong.PostBuild(func(k *kong.Kong) error { return kong.Visit(k.Model.Node, wantValue) }).Apply(k))
	})
}

// wantValue makes a flag look for its value with [flagValue].
func wantValue(node kong.Visitable, next kong.Next) error {
	if f, ok := node.(*kong.Flag); ok && !f.IsBool() {
		f.Mapper = flagValue{f.Mapper}
	}
	return next(nil)
}

// flagValue reads the value of a flag.
type flagValue struct{ kong.Mapper }

// Decode reads the value, which no other flag is: "-3" is a number.
func (v flagValue) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	token := ctx.Scan.Peek()
	if _, err := strconv.ParseFloat(token.String(), 64); err == nil && !token.IsValue() {
		ctx.Scan.Pop()
		ctx.Scan.PushTyped(token.Value, kong.FlagValueToken)
	} else if !token.IsValue() {
		return errors.New("a value is missing")
	}
	return v.Mapper.Decode(ctx, target)
}

// given reads a text that must not be empty: of a flag that guards something, as a shell's
// variable that is not set would make it.
func given(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("text", &text); err != nil {
		return err
	}
	if strings.TrimSpace(text) == "" {
		return errors.New("its value is empty: give one, or leave the flag out")
	}
	target.SetString(text)
	return nil
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
