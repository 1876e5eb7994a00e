package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"farmboot/provisioning"
)

// plainValues reads numbers and times on the command line, and says in plain words what
// is accepted.
func plainValues() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.KindMapper(reflect.Int, wholeNumber(strconv.IntSize)).Apply(k),
			kong.KindMapper(reflect.Int64, wholeNumber(64)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(duration)).Apply(k))
	})
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

// noValue is how the parser says that a flag ends the line, or that a flag follows it.
var noValue = regexp.MustCompile(`expected \S+ value but got .*`)

// usageOf says what is wrong with a command line.
func usageOf(err error) string { return noValue.ReplaceAllString(oneLine(err), "a value is missing") }
