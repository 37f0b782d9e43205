from enum import StrEnum


class WhoamiViewMayItem(StrEnum):
    ASKFORSTEP = "AskForStep"
    CANCEL = "Cancel"
    CREATEPROJECT = "CreateProject"
    CREATETOKEN = "CreateToken"
    DECIDE = "Decide"
    DELETEPROJECT = "DeleteProject"
    ENQUEUE = "Enqueue"
    GOVERN = "Govern"
    LISTPROJECTS = "ListProjects"
    LISTTOKENS = "ListTokens"
    MANAGEENROLMENTKEYS = "ManageEnrolmentKeys"
    MANAGEWORKERS = "ManageWorkers"
    NAMESTEP = "NameStep"
    READAPPROVALS = "ReadApprovals"
    READAUDIT = "ReadAudit"
    READPROFILES = "ReadProfiles"
    READPROJECT = "ReadProject"
    READREVOCATIONS = "ReadRevocations"
    READRUNS = "ReadRuns"
    READUSAGE = "ReadUsage"
    READWORKERS = "ReadWorkers"
    READWORKFLOWS = "ReadWorkflows"
    REGISTERWORKER = "RegisterWorker"
    REGISTERWORKFLOW = "RegisterWorkflow"
    RETIREWORKFLOW = "RetireWorkflow"
    RETRY = "Retry"
    REVOKE = "Revoke"
    REVOKETOKEN = "RevokeToken"
    SETLIMITS = "SetLimits"
    UPDATEPROJECT = "UpdateProject"
    WORK = "Work"
    WRITEPROFILE = "WriteProfile"

    def __str__(self) -> str:
        return str(self.value)
