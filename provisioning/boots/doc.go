// Package boots packs what nodes do into boots, of which a store keeps a row each: how a
// boot's events are written, and which event belongs to which boot.
package boots
