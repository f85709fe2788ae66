#!/bin/sh
wrangler kv key put --binding SETTINGS "master:clinic:2" "{}"
