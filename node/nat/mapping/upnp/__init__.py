"""UPnP-IGD: SSDP finds the router's description, SOAP over HTTP asks for mappings."""
