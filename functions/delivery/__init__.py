"""consumes: AnswerDue.
emits:    AnswerReady, in clear, to the answers topic of the request's tenant.
promises: who asked for an answer gets it, under one id however often it comes; who did not, nothing."""
