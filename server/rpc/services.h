#pragma once

// The services of etcd's API as far as this build serves them. Each one checks the shape of a
// request, calls the server and translates the answer; it decides nothing.
//
// All are confined to the server strand. Each Register... adds the handlers to `dispatcher`; the
// server must outlive it.

#include "server/etcd_server.h"
#include "server/rpc/dispatch.h"

namespace etcdd::rpc {

// Range, RangeStream, Put, DeleteRange, Txn, Compact.
void RegisterKv(server::EtcdServer* server, base::Strand* strand, ServiceDispatcher* dispatcher);
// Watch.
void RegisterWatch(server::EtcdServer* server, ServiceDispatcher* dispatcher);
// LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases.
void RegisterLease(server::EtcdServer* server, ServiceDispatcher* dispatcher);
// Status, Alarm, Hash, HashKV, Defragment, Snapshot, MoveLeader.
void RegisterMaintenance(server::EtcdServer* server, ServiceDispatcher* dispatcher);
// MemberList.
void RegisterCluster(server::EtcdServer* server, ServiceDispatcher* dispatcher);

// Lock, Unlock of v3lockpb.
void RegisterLock(server::EtcdServer* server, ServiceDispatcher* dispatcher);
// Campaign, Proclaim, Leader, Observe, Resign of v3electionpb.
void RegisterElection(server::EtcdServer* server, ServiceDispatcher* dispatcher);

}  // namespace etcdd::rpc
